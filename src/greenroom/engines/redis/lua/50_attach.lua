-- attach and refresh: a known session gets a connection, or a new token (S1, S5, S7, S18).

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

define('attach', function(c, r)
  if not live_lease(c, r.lease) then
    return refuse('fenced')
  end
  local s = load_session(c, r.session_id)
  local no = check_attach(c, r, s)
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
  finish(c, p, before)
  return {'ok', 0, flat_session(c, s.id), reply_participant(p), displaced or {}, {}, count_of(c, s.app)}
end)

define('refresh', function(c, r)
  local s = load_session(c, r.owner.session_id)
  if not owns(s, r.owner) then
    return not_owner(c, s)
  end
  local no = restricted(c, s.app, s.hashed, r.token.jti, r.token.issued_at)
  if no then
    return no
  end
  set_token(s, r.token)
  save(session_key(c, s.id), s, {'jti', 'iat', 'exp', 'tg', 'scopes'})
  note(c, s.id, 'token_refreshed', s.node, '')
  return {'ok', flat_session(c, s.id)}
end)
