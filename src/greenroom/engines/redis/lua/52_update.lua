-- update: a profile is changed, by a session or by the server API (S14), or a session's status.

-- S14: the result of an update that this session has made before, or nil.
local function remembered(s, update_id)
  for _, entry in ipairs(s.updates and cjson.decode(s.updates) or {}) do
    if entry[1] == update_id then
      return entry[2]
    end
  end
  return nil
end

local function remember(c, s, update_id, record)
  local updates = s.updates and cjson.decode(s.updates) or {}
  updates[#updates + 1] = {update_id, record}
  if #updates > UPDATE_MEMORY then
    table.remove(updates, 1)
  end
  call('HSET', session_key(c, s.id), 'updates', cjson.encode(updates))
end

local function set_own_status(c, s, p, before, status)
  if status == 'available' then
    status = ''
  end
  if status == (s.status or '') then
    mark_repeated(c)
  else
    call('HSET', session_key(c, s.id), 'status', status)
    set_status(p, s.id, some(status))
    finish(c, p, before)
  end
  return {'ok', participant_json(p)}
end

define('update', function(c, r)
  local s = nil
  if r.id then
    s = load_session(c, r.id)
    if not owns(s, r) then
      return not_owner(c, s, r.id)
    end
    local first = r.update_id and remembered(s, r.update_id)
    if first then
      mark_repeated(c)
      return {'ok', first}
    end
  end
  local p = load_participant(c, r.app, r.pid)
  if not p then
    if not s then
      return refuse('not_found')
    end
    p = participant_of(c, s)
  end
  if r.if_revision and r.if_revision ~= p.rev then
    return refuse('conflict', 'participant', participant_json(p))
  end
  local before = snapshot(p)
  if s and r.status then
    return set_own_status(c, s, p, before, r.status)
  end
  local wanted, differs = wanted_profile(p, r)
  if not wanted then
    return differs
  end
  if differs then
    set_profile(p, wanted)
    finish(c, p, before)
  else
    mark_repeated(c)
  end
  local record = participant_json(p)
  if s and r.update_id then
    remember(c, s, r.update_id, record)
  end
  return {'ok', record}
end)
