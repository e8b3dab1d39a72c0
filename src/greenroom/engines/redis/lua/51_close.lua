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

-- What an end needs of a session, and what its owner is answered.
local function load_ending(c, sid)
  local values = call('HMGET', session_key(c, sid), unpack(ENDING))
  if not values[1] then
    return nil
  end
  local s = {id = sid}
  for i = 1, #ENDING do
    s[ENDING[i]] = values[i] or nil
  end
  return s, values
end

define('close', function(c, r)
  local s, values = load_ending(c, r.id)
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
  return {'ok', values, c.ms, left}
end)
