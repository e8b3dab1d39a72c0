-- attach and refresh: a known session gets a connection, or a new token (S1, S5, S7, S18).

-- S1. Nil where the attempt is good (and the secrets are turned), or the refusal.
local function check_secret(c, r, s)
  local current = s.secret == r.secret
  local old = some(s.prev) and s.prev == r.secret
  local repeated = old and s.secret == r.next_secret
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
  if (r.app and r.app ~= s.app) or (r.pid and r.pid ~= s.pid) then
    return refuse('token_mismatch')
  end
  s.attempt = r.attempt
  if current and some(r.next_secret) and r.next_secret ~= s.secret then
    s.first = s.first or s.secret
    s.prev, s.secret = s.secret, r.next_secret
  end
  return nil
end

local function check_attach(c, r, s)
  if not s then
    return unknown_session(c, r.id)
  end
  if not r.owner_lease then
    return check_secret(c, r, s)
  end
  if s.state == 'closed' or not is_owner(s, r) then
    return not_owner(c, s, r.id)
  end
  return nil
end

define('attach', function(c, r)
  if not live_lease(c, r.lease) then
    return refuse('fenced')
  end
  local s = load_session(c, r.id)
  local no = check_attach(c, r, s)
  if no then
    return no
  end
  no = restricted(c, s.app, s.hashed, r.jti or s.jti, r.jti and r.iat or s.iat)
  if no then
    return no
  end
  local p = participant_of(c, s)
  local before = snapshot(p)
  before.touched = true
  local displaced = attach_session(c, s, p, r, r.owner_lease and 'taken_back' or 'resumed')
  finish(c, p, before)
  local flat = flat_session(c, s.id)
  if some(s.lost) then
    call('HDEL', session_key(c, s.id), 'lost') -- answered now
  end
  local invited = nil
  if some(p.inv) then
    invited = select(4, sessions_of(c, p.who))
  end
  return {'ok', 0, flat, reply_participant(p), displaced or {}, {}, count_of(c, s.app), rooms.invitations(c, invited)}
end)

define('refresh', function(c, r)
  local s = load_session(c, r.id)
  if not owns(s, r) then
    return not_owner(c, s, r.id)
  end
  local no = restricted(c, s.app, s.hashed, r.jti, r.iat)
  if no then
    return no
  end
  set_token(s, r)
  if r.leave and some(s.rooms) then
    rooms.leave(c, s, r.leave, 'permission_lost')
  end
  save(session_key(c, s.id), s, {'jti', 'iat', 'exp', 'tg', 'scopes'})
  note(c, s, 'token_refreshed', s.node, '')
  return {'ok', flat_session(c, s.id)}
end)
