-- open (S2), in its order: block and revocation; known openId; same device; limits; create.

local function reopen(c, r, s)
  if (s.first or s.secret) ~= r.secret_hash then
    return refuse('open_id_conflict')
  end
  if s.state == 'closed' then
    return refuse('ended', 'end_reason', s.reason)
  end
  if number(s.attempt) > 0 then
    return refuse('superseded') -- resumed since: this is a late dial (S1)
  end
  local p = participant_of(c, s)
  local before = snapshot(p)
  before.touched = true
  local displaced = attach_session(c, s, p, r, 'reopened')
  finish(c, p, before)
  return {'ok', 0, flat_session(c, s.id), reply_participant(p), displaced or {}, {}, count_of(c, s.app)}
end

local function by_age(field)
  return function(a, b)
    local x, y = number(a[field]), number(b[field])
    if x ~= y then
      return x < y
    end
    return a.id < b.id
  end
end

-- Which sessions yield, or nil where none of the rest may. Nothing is written yet.
local function who_yields(c, r, live)
  local replaced, rest = {}, {}
  for sid, device in pairs(live) do
    local same = r.device_id and device == r.device_id and r.same_device ~= 'allow'
    local s, flat = load_session(c, sid)
    if s then
      s.flat = flat
      table.insert(same and replaced or rest, s)
    end
  end
  table.sort(replaced, by_age('opened'))
  local detached, attached = {}, {}
  for _, s in ipairs(rest) do
    table.insert(s.state == 'detached' and detached or attached, s)
  end
  table.sort(detached, by_age('detached'))
  table.sort(attached, by_age('opened'))
  local too_many = #rest - r.max_sessions + 1
  for _, s in ipairs(detached) do
    if too_many > 0 then
      replaced[#replaced + 1] = s
      too_many = too_many - 1
    end
  end
  if r.max_sessions < 1 or (too_many > 0 and r.when_full ~= 'replace_oldest') then
    return nil
  end
  for _, s in ipairs(attached) do
    if too_many > 0 then
      replaced[#replaced + 1] = s
      too_many = too_many - 1
    end
  end
  return replaced
end

local CREATED = {'v', 'id', 'app', 'pid', 'xid', 'gen', 'state', 'node', 'lease', 'opened', 'dev', 'devname', 'sdk',
  'addr', 'secret', 'hashed', 'oid', 'grace', 'jti', 'iat', 'exp', 'scopes', 'status'}

local function create(c, r, who)
  local s = {
    v = '1', id = r.session_id, app = r.app, pid = r.participant_id, xid = r.external_id, gen = '1',
    state = 'attached', node = r.node, lease = r.lease, opened = c.now, dev = r.device_id, devname = r.device_name,
    sdk = some(r.sdk), addr = some(r.address), secret = r.secret_hash, hashed = r.hashed, oid = r.open_id,
    grace = r.grace_ms, status = r.status,
  }
  set_token(s, r.token)
  save(session_key(c, s.id), s, CREATED)
  call('HSET', c.P .. ':ps:' .. who, 's:' .. s.id, r.device_id or '')
  call('HSET', open_ids(c, who), r.open_id, s.id)
  call('SADD', c.P .. ':l:' .. s.lease, s.id)
  call('ZADD', c.P .. ':live', 0, s.app .. '\0' .. s.id)
  note(c, s.id, 'opened', s.node, s.addr)
  return s
end

-- S4. Nil, or the refusal; changes the table only.
local function take_profile(r, p)
  if r.if_new and not p.fresh then
    return nil
  end
  local wanted, differs = wanted_profile(p, r)
  if not wanted then
    return differs
  end
  if differs and not p.fresh and r.keep_profile then
    return refuse('scope', 'scope', 'session:update')
  end
  if differs then
    set_profile(p, wanted)
  end
  return nil
end

local function over_application_limit(c, r, replaced)
  if not r.max_application_sessions then
    return false
  end
  return r.other_sessions + count_of(c, r.app) - #replaced >= r.max_application_sessions
end

define('open', function(c, r)
  if not live_lease(c, r.lease) then
    return refuse('fenced')
  end
  local no = restricted(c, r.app, r.hashed, r.token.jti, r.token.issued_at)
  if no then
    return no
  end
  local p, who = load_participant(c, r.app, r.participant_id)
  local known = call('HGET', open_ids(c, who), r.open_id) or call('HGET', c.P .. ':ps:' .. who, 'o:' .. r.open_id)
  local s = known and load_session(c, known)
  if s then
    return reopen(c, r, s)
  end
  p = p or new_participant(c, r.app, r.participant_id, r.external_id, r.anonymous)
  local before = snapshot(p)
  before.changed = true -- also where one session takes the place of another: watchers are told once
  local replaced = who_yields(c, r, sessions_of(c, who))
  if not replaced then
    return refuse('too_many')
  end
  if over_application_limit(c, r, replaced) then
    return refuse('application_limit')
  end
  no = take_profile(r, p)
  if no then
    return no
  end
  local flats = {}
  local by = '{"id":' .. (some(r.device_id) and quote(r.device_id) or 'null') .. ',"name":'
    .. (some(r.device_name) and quote(r.device_name) or 'null') .. '}'
  for i, old in ipairs(replaced) do
    flats[i] = end_session(c, old, old.flat, p, 'replaced', '', by)
  end
  s = create(c, r, who)
  p.n, p.on = p.n + 1, p.on + 1
  if r.status or some(p.sts) then
    set_status(p, s.id, r.status)
  end
  local count = call('HINCRBY', c.P .. ':apps', r.app, 1)
  emit_session(c, s, 'opened', 'opened')
  finish(c, p, before)
  return {'ok', 1, c.ms, reply_participant(p), {}, flats, count} -- the node knows the rest of the session
end)
