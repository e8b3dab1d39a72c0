-- detach and close: a session loses its connection, or ends (S6).

define('detach', function(c, r)
  local s = load_session(c, r.owner.session_id)
  if not owns(s, r.owner) then
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
  return not r.owner or is_owner(s, r.owner)
end

define('close', function(c, r)
  local s, flat = load_session(c, r.session_id)
  if not s or s.state == 'closed' or not may_close(r, s) then
    mark_repeated(c)
    return {'ok'}
  end
  if r.secret_hash and not r.owner and r.secret_hash ~= s.secret and r.secret_hash ~= s.prev then
    return refuse('resume_refused')
  end
  local p = participant_of(c, s)
  local before = snapshot(p)
  flat = end_session(c, s, flat, p, r.reason, r.text)
  finish(c, p, before)
  return {'ok', flat, count_of(c, s.app)}
end)
