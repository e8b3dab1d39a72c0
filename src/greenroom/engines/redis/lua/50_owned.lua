-- What happens to a session after its open: attach, refresh, detach, close, update.

-- S1. Nil where the attempt is good (and the secrets are turned), or the refusal.
local function check_secret(c, r, s)
  local current = s.secret == r.secret_hash
  local old = some(s.prev) and s.prev == r.secret_hash
  local repeated = old and s.secret == r.next_secret_hash
  local late = (current or old) and r.attempt <= number(s.attempt)
  if not current and not repeated and not late then
    return refuse('resume_refused')
  end
  if s.state == 'closed' then
    return refuse('ended', 'end_reason', s.reason)
  end
  if late then
    return refuse('superseded')
  end
  if (r.app and r.app ~= s.app) or (r.participant_id and r.participant_id ~= s.pid) then
    return refuse('token_mismatch')
  end
  s.attempt = r.attempt
  if current and some(r.next_secret_hash) and r.next_secret_hash ~= s.secret then
    s.first = s.first or s.secret
    s.prev, s.secret = s.secret, r.next_secret_hash
  end
  return nil
end

local function check_attach(c, r, s)
  if not s then
    return unknown_session(c)
  end
  if not r.previous then
    return check_secret(c, r, s)
  end
  if s.state == 'closed' or not is_owner(s, r.previous) then
    return not_owner(c, s)
  end
  return nil
end

functions.attach = function(keys, args)
  local c, no = enter(keys, args)
  if not c then
    return no
  end
  local r = c.arg
  if not live_lease(c, r.lease) then
    return refuse('fenced')
  end
  local s = load_session(c, r.session_id)
  no = check_attach(c, r, s)
  if no then
    return no
  end
  local token = r.token or {jti = s.jti, issued_at = s.iat}
  no = restricted(c, s.app, s.hashed, token.jti, token.issued_at)
  if no then
    return no
  end
  local p = participant_of(c, s)
  local before = snapshot(p)
  before.touched = true
  local displaced = attach_session(c, s, p, r, r.previous and 'taken_back' or 'resumed')
  settle(c, p, before)
  hint_events(c)
  return {'ok', 0, flat_session(c, s.id), reply_participant(p), displaced or {}, {}, count_of(c, s.app)}
end

functions.refresh = function(keys, args)
  local c, no = enter(keys, args)
  if not c then
    return no
  end
  local r = c.arg
  local s = load_session(c, r.owner.session_id)
  if not owns(s, r.owner) then
    return not_owner(c, s)
  end
  no = restricted(c, s.app, s.hashed, r.token.jti, r.token.issued_at)
  if no then
    return no
  end
  set_token(s, r.token)
  save(session_key(c, s.id), s, {'jti', 'iat', 'exp', 'scopes'})
  note(c, s.id, 'token_refreshed', s.node, '')
  return {'ok', flat_session(c, s.id)}
end

functions.detach = function(keys, args)
  local c, no = enter(keys, args)
  if not c then
    return no
  end
  local r = c.arg
  local s = load_session(c, r.owner.session_id)
  if not owns(s, r.owner) then
    return {'ok', 0}
  end
  local p = participant_of(c, s)
  local before = snapshot(p)
  detach_session(c, s, p, r.grace_ms, '')
  settle(c, p, before)
  hint_events(c)
  return {'ok', 1}
end

-- Another tenant's operator, or an owner that was overtaken, finds nothing. One whose session was detached since by a
-- reaper, but taken by nobody, may still close it: a close that was kept through an outage (S6).
local function may_close(r, s)
  if r.app and r.app ~= s.app then
    return false
  end
  return not r.owner or is_owner(s, r.owner)
end

functions.close = function(keys, args)
  local c, no = enter(keys, args)
  if not c then
    return no
  end
  local r = c.arg
  local s, flat = load_session(c, r.session_id)
  if not s or s.state == 'closed' or not may_close(r, s) then
    found_done(c)
    return {'ok'}
  end
  if r.secret_hash and not r.owner and r.secret_hash ~= s.secret and r.secret_hash ~= s.prev then
    return refuse('resume_refused')
  end
  local p = participant_of(c, s)
  local before = snapshot(p)
  flat = end_session(c, s, flat, p, r.reason, r.text)
  settle(c, p, before)
  hint_events(c)
  return {'ok', flat, count_of(c, s.app)}
end

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

functions.update = function(keys, args)
  local c, no = enter(keys, args)
  if not c then
    return no
  end
  local r = c.arg
  local s = nil
  if r.owner then
    s = load_session(c, r.owner.session_id)
    if not owns(s, r.owner) then
      return not_owner(c, s)
    end
    local first = r.update_id and remembered(s, r.update_id)
    if first then
      found_done(c)
      return {'ok', first}
    end
  end
  local p = load_participant(c, r.app, r.participant_id)
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
  if change_profile(p, r.name, r.avatar_url) then
    settle(c, p, before)
    hint_events(c)
  else
    found_done(c)
  end
  local record = participant_json(p)
  if s and r.update_id then
    remember(c, s, r.update_id, record)
  end
  return {'ok', record}
end
