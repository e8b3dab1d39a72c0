-- open (S2), in its order: block and revocation; known openId; same device; limits; create.

local function reopen(c, r, s, invited)
  if (s.first or s.secret) ~= r.secret then
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
  return {'ok', 0, flat_session(c, s.id), reply_participant(p), displaced or {}, {}, count_of(c, s.app),
    rooms.invitations(c, invited)}
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
  if not next(live) then
    return r.max_sessions > 0 and {} or nil
  end
  local replaced, rest = {}, {}
  for sid, device in pairs(live) do
    local same = r.dev and device == r.dev and r.same_device ~= 'allow'
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

local OPTIONAL = {'xid', 'dev', 'devname', 'sdk', 'addr', 'status'}

local function store_packed(c, s)
  call('HSET', session_key(c, s.id), 'v2', s.id .. '\0' .. s.app .. '\0' .. s.pid .. '\0001\0attached\0' .. s.node .. '\0'
    .. s.lease .. '\0' .. c.now .. '\0' .. s.secret .. '\0' .. s.hashed .. '\0' .. s.oid .. '\0' .. s.grace .. '\0' .. s.jti
    .. '\0' .. s.iat .. '\0' .. s.exp .. '\0' .. s.scopes .. '\0' .. (s.xid or '') .. '\0' .. (s.dev or '') .. '\0'
    .. (s.devname or '') .. '\0' .. (s.sdk or '') .. '\0' .. (s.addr or '') .. '\0' .. (s.status or '') .. '\0')
end

local function store_fields(c, s)
  local fields, count = {
    session_key(c, s.id), 'v', '1', 'id', s.id, 'app', s.app, 'pid', s.pid, 'gen', '1', 'state', 'attached',
    'node', s.node, 'lease', s.lease, 'opened', c.now, 'secret', s.secret, 'hashed', s.hashed, 'oid', s.oid,
    'grace', s.grace, 'jti', s.jti, 'iat', s.iat, 'exp', s.exp, 'scopes', s.scopes,
    false, false, false, false, false, false, false, false, false, false, false, false,
  }, 35
  for i = 1, #OPTIONAL do
    local name = OPTIONAL[i]
    if s[name] then
      fields[count + 1], fields[count + 2], count = name, s[name], count + 2
    end
  end
  call('HSET', unpack(fields, 1, count))
end

-- The request has the fields of a session: it is used as one from here on.
local function create(c, s, who, at_hand)
  if s.packed then
    store_packed(c, s)
  else
    store_fields(c, s)
  end
  local sessions = c.P .. ':ps:' .. who
  if at_hand < OPEN_IDS_AT_HAND then
    call('HSET', sessions, 's:' .. s.id, s.dev or '', 'o:' .. s.oid, s.id)
  else
    call('HSET', sessions, 's:' .. s.id, s.dev or '')
    call('HSET', open_ids(c, who), s.oid, s.id)
  end
  call('SADD', c.P .. ':l:' .. s.lease, s.id)
  call('ZADD', c.P .. ':live', '0', s.app .. '\0' .. s.id)
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
  local no = restricted(c, r.app, r.hashed, r.jti, r.iat)
  if no then
    return no
  end
  local p, who = load_participant(c, r.app, r.pid)
  local live, opened, at_hand, invited = sessions_of(c, who)
  local known = opened[r.oid] or call('HGET', open_ids(c, who), r.oid)
  local s = known and load_session(c, known)
  if s then
    return reopen(c, r, s, invited)
  end
  p = p or new_participant(c, r.app, r.pid, r.xid, r.anonymous)
  p.inv = p.inv or invited and '1'
  local before = snapshot(p)
  before.changed = true -- also where one session takes the place of another: watchers are notified once
  local replaced = who_yields(c, r, live)
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
  for i, old in ipairs(replaced) do
    local by = '{"id":' .. (some(r.dev) and quote(r.dev) or 'null') .. ',"name":'
      .. (some(r.devname) and quote(r.devname) or 'null') .. '}'
    flats[i] = end_whole(c, old, old.flat, p, 'replaced', '', by)
  end
  create(c, r, who, at_hand)
  p.n, p.on = p.n + 1, p.on + 1
  if r.status or some(p.sts) then
    set_status(p, r.id, r.status)
  end
  local count = call('HINCRBY', c.P .. ':apps', r.app, '1')
  emit_session(c, r, 'opened', 'opened')
  finish(c, p, before)
  return {'ok', 1, c.ms, reply_participant(p), {}, flats, count, rooms.invitations(c, invited)} -- the node knows the rest of the session
end)
