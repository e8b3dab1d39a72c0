-- detach and close: a session loses its connection, or ends (S6).

define('detach', function(c, r)
  local s = load_session(c, r.id)
  if not owns(s, r) then
    return {'ok', 0}
  end
  local p = participant_of(c, s)
  local before = snapshot(p)
  detach_session(c, s, p, r.grace_ms, '')
  finish(c, p, before)
  return {'ok', 1}
end)

-- Another tenant's operator, or an owner that was overtaken, finds nothing. One whose session was detached since by a
-- reaper, but taken by nobody, may still close it: a close that was kept through an outage (S6).
local function may_close(r, s)
  if r.app and r.app ~= s.app then
    return false
  end
  return not r.owner_lease or is_owner(s, r)
end

local SINCE_OPEN = {'state', 'gen', 'node', 'lease', 'secret', 'prev', 'detached', 'rooms'}

-- What an end needs of a session, as a table and as its owner is answered: without the updates that it made.
local function load_ending(c, sid)
  local found = call('HMGET', session_key(c, sid), 'v2', unpack(SINCE_OPEN))
  if not found[1] then
    return load_session(c, sid)
  end
  local s, flat, count = CREATED(found[1]), {'v2', found[1]}, 2
  for i = 1, #SINCE_OPEN do
    if found[i + 1] then
      s[SINCE_OPEN[i]] = found[i + 1]
      flat[count + 1], flat[count + 2], count = SINCE_OPEN[i], found[i + 1], count + 2
    end
  end
  return s, flat
end

define('close', function(c, r)
  local s, flat = load_ending(c, r.id)
  if not s or s.state == 'closed' or not may_close(r, s) then
    mark_repeated(c)
    return {'ok'}
  end
  if r.secret and not r.owner_lease and r.secret ~= s.secret and r.secret ~= s.prev then
    return refuse('resume_refused')
  end
  local p = participant_of(c, s)
  local before = snapshot(p)
  local left = end_session(c, s, p, r.reason, r.text)
  finish(c, p, before)
  return {'ok', flat, c.ms, left}
end)
