-- Sessions: ownership, detach, attach, end.

-- A session is one field as its open made it, `v2` (`CREATED`): a hash of some twenty was a quarter of an open. What was
-- written since lies beside it, and counts. While a node of 0.2 is there, and of its time, every field is on its own.
local function load_session(c, sid)
  local flat = call('HGETALL', session_key(c, sid))
  if #flat == 0 then
    return nil
  end
  local s = as_table(flat)
  if not s.v2 then
    return s, flat
  end
  local made = CREATED(s.v2)
  for name, value in pairs(s) do
    made[name] = value
  end
  return made, flat
end

-- The named fields of a session, as HMGET gives them.
local function session_fields(c, sid, names)
  local found = call('HMGET', session_key(c, sid), 'v2', unpack(names))
  local made = found[1] and CREATED(found[1]) or {}
  for i = 1, #names do
    found[i] = found[i + 1] or made[names[i]] or false
  end
  return found
end

-- S7: generation, lease, and that nobody has taken the session from them since (a lapsed lease leaves it detached).
local function is_owner(s, r)
  return s.gen == r.owner_generation and s.lease == r.owner_lease
end

local function owns(s, r)
  return s and s.state == 'attached' and is_owner(s, r)
end

-- Only a node whose lease is good may take a session: a lapsed one's would have no one to detach it.
local function live_lease(c, lease)
  local expires = call('ZSCORE', c.P .. ':leases', lease)
  return expires and tonumber(expires) >= c.clock
end

-- An unknown lease is taken; a lapsed one is never renewed (S7).
local function take_lease(c, lease, node, ms)
  if call('ZSCORE', c.P .. ':leases', lease) then
    return live_lease(c, lease)
  end
  if call('ZSCORE', c.P .. ':dead', lease) then
    return false
  end
  call('ZADD', c.P .. ':leases', int(c.clock + (ms or LEASE_MS)), lease)
  call('HSET', c.P .. ':nodes', lease, node)
  return true
end

local function unhook(c, s)
  if s.state == 'attached' then
    call('SREM', c.P .. ':l:' .. s.lease, s.id)
  else
    call('ZREM', c.P .. ':due', 'g' .. s.id, 'd' .. s.id)
  end
end

local function device_json(s)
  return '"device":{"id":' .. (s.dev and quote(s.dev) or 'null') .. ',"name":' .. (s.devname and quote(s.devname) or 'null')
    .. '}'
end

local function emit_session(c, s, what, id, extra)
  local has_device = s.dev or s.devname
  store_event(c, s.app, '{"id":"' .. s.id .. ':' .. id .. '","type":"session.' .. what .. '","at":' .. c.now
    .. ',"participantId":"' .. s.pid .. '","sessionId":"' .. s.id .. '","data":{' .. (extra or '')
    .. (s.xid and (extra and ',"externalId":' or '"externalId":') or '') .. (s.xid and quote(s.xid) or '')
    .. (has_device and (extra or s.xid) and ',' or '') .. (has_device and device_json(s) or '') .. '}}')
end

local function emit_ended(c, s, reason, text, by)
  local extra = '"reason":' .. quote(reason) .. ',"duration":' .. format('%.3f', max(0, c.ms - number(s.opened)) / 1000)
  if some(text) then
    extra = extra .. ',"text":' .. quote(text)
  end
  if by then
    extra = extra .. ',"by":' .. by
  end
  emit_session(c, s, 'ended', 'ended', extra)
end

-- openIds of a participant lie beside its sessions, as in library 1, so that both are one lookup and one write; those
-- beyond OPEN_IDS_AT_HAND, and those that library 2 stored, in a hash of their own, so that an open costs no more
-- however many there are.
local function open_ids(c, who)
  return c.P .. ':po:' .. who
end

local function ended_of(c, who)
  return c.P .. ':pe:' .. who
end

local function forget_open_id(c, s)
  local who = owner_key(s.app, s.pid)
  if s.oid and call('HGET', open_ids(c, who), s.oid) == s.id then
    call('HDEL', open_ids(c, who), s.oid)
  end
  if s.oid and call('HGET', c.P .. ':ps:' .. who, 'o:' .. s.oid) == s.id then
    call('HDEL', c.P .. ':ps:' .. who, 'o:' .. s.oid)
  end
end

local function forget_session(c, sid)
  local s = load_session(c, sid)
  if s and s.state == 'closed' then
    forget_open_id(c, s)
    if call('ZREM', ended_of(c, owner_key(s.app, s.pid)), sid) == 1 then
      call('HINCRBY', c.P .. ':ended', s.app, -1)
    end
    call('DEL', session_key(c, sid), c.P .. ':t:' .. sid)
  end
  call('ZREM', c.P .. ':due', 'f' .. sid, 'o' .. sid)
end

-- One that makes room for later ones. That it ended, and why, stays known as long as its openId would have been: its
-- node may not have been notified yet, and would write back a session that it holds and nobody knows (S7).
local function forget_surplus(c, sid)
  local reason, due = call('HGET', session_key(c, sid), 'reason'), call('ZSCORE', c.P .. ':due', 'o' .. sid)
  forget_session(c, sid)
  if reason and due then
    call('HSET', c.P .. ':gone', sid, reason)
    call('ZADD', c.P .. ':due', due, 'o' .. sid)
  end
end

local SURPLUS_ENDED = '-' .. (1 + ENDED_OF_PARTICIPANT)

-- Of a participant the latest that ended are kept. Where an application has too many, one that ends is kept as long as
-- its openId only.
local function remember_ended(c, s, who)
  local key = ended_of(c, who)
  call('ZADD', key, clock_text(c), s.id)
  local many = call('HINCRBY', c.P .. ':ended', s.app, '1') > ENDED_OF_APPLICATION / 64
  call('ZADD', c.P .. ':due', int(c.clock + (many and OPEN_ID_MEMORY_MS or ENDED_MEMORY_MS)), 'f' .. s.id,
    int(c.clock + OPEN_ID_MEMORY_MS), 'o' .. s.id)
  for _, old in ipairs(call('ZRANGE', key, '0', SURPLUS_ENDED)) do
    forget_surplus(c, old)
  end
end

-- Ends a session; the caller finishes the participant. How many the application has left here. by: the device that took
-- its place, as JSON.
local function end_session(c, s, p, reason, text, by)
  unhook(c, s)
  if p then
    p.n = max(0, p.n - 1)
    if s.state == 'attached' then
      p.on = max(0, p.on - 1)
    end
    if some(p.sts) then
      set_status(p, s.id, nil)
    end
  end
  local who = p and p.who or owner_key(s.app, s.pid)
  call('HDEL', c.P .. ':ps:' .. who, 's:' .. s.id)
  call('ZREM', c.P .. ':live', s.app .. '\0' .. s.id)
  local left = call('HINCRBY', c.P .. ':apps', s.app, '-1')
  s.state = 'closed'
  rooms.mark_session(c, s, c.erases and 'erased' or reason)
  if some(text) then
    call('HSET', session_key(c, s.id), 'state', 'closed', 'ended', c.now, 'reason', reason, 'text', text)
  else
    call('HSET', session_key(c, s.id), 'state', 'closed', 'ended', c.now, 'reason', reason)
  end
  remember_ended(c, s, who)
  emit_ended(c, s, reason, text, by)
  return left
end

-- Ends one that was read whole. The session as it was while owned, with when and why it ended.
local function end_whole(c, s, flat, p, reason, text, by)
  end_session(c, s, p, reason, text, by)
  for _, value in ipairs({'ended', c.now, 'reason', reason, 'text', text or ''}) do
    flat[#flat + 1] = value
  end
  return flat
end

local function detach_session(c, s, p, grace_ms, why)
  unhook(c, s)
  p.on = math.max(0, p.on - 1)
  s.state = 'detached'
  call('HSET', session_key(c, s.id), 'state', 'detached', 'detached', c.now)
  -- d: the event, like that of `unreachable`, comes only when it has lasted for 2 s
  call('ZADD', c.P .. ':due', int(clock_now(c) + grace_ms), 'g' .. s.id, int(clock_now(c) + NOTIFY_AFTER_MS), 'd' .. s.id)
  note(c, s, 'detached', s.node, why)
end

-- The field `told` says that the event was published. Its name stays: nodes of the version before read and write it
-- too.
local function emit_detached(c, s)
  call('HSET', session_key(c, s.id), 'told', '1')
  rooms.mark_session(c, s)
  emit_session(c, s, 'detached', 'detached:' .. s.gen)
end

local function set_token(s, r)
  if r.jti then
    if r.exp ~= s.exp then
      s.tg = ''
    end
    s.jti, s.iat, s.exp, s.scopes = r.jti, r.iat, r.exp, r.scopes
  end
end

-- S5: a token has one grace after its end. It counts from the end where the session was connected then, else from now.
local function begin_token_grace(c, s)
  local expired = number(s.exp) * 1000
  if not some(s.tg) and c.ms > expired then
    local was_connected = s.state == 'attached' or number(s.detached) >= expired
    s.tg = was_connected and int(expired) or c.now
  end
end

-- Gives the session to (node, lease), generation +1. Whom it was taken from, or nil.
local function attach_session(c, s, p, r, what)
  local displaced = nil
  note(c, s, what, r.node, r.addr or s.addr)
  set_token(s, r)
  begin_token_grace(c, s)
  if s.state == 'attached' then
    displaced = {s.node, s.id, s.gen}
  else
    p.on = p.on + 1
  end
  unhook(c, s)
  s.state, s.node, s.lease, s.gen, s.addr = 'attached', r.node, r.lease, int(number(s.gen) + 1), r.addr or s.addr
  local key = session_key(c, s.id)
  save(key, s, {'state', 'node', 'lease', 'gen', 'addr', 'jti', 'iat', 'exp', 'tg', 'scopes', 'secret', 'prev', 'attempt', 'first'})
  if s.detached or s.told then
    call('HDEL', key, 'detached', 'told')
  end
  call('SADD', c.P .. ':l:' .. s.lease, s.id)
  if s.told then
    emit_session(c, s, 'resumed', 'resumed:' .. s.gen)
    rooms.mark_session(c, s)
  end
  return displaced
end

local function count_of(c, app)
  return number(call('HGET', c.P .. ':apps', app))
end

-- Of a participant: ids of sessions that have not ended, with their devices; openIds at hand with their sessions, and
-- how many these are; invitations to rooms, nil where there are none.
local function sessions_of(c, who)
  local live, opened, count, invited = {}, {}, 0, nil
  local flat = call('HGETALL', c.P .. ':ps:' .. who)
  for i = 1, #flat, 2 do
    local id = string.sub(flat[i], 3)
    if string.byte(flat[i]) == 115 then -- s:
      live[id] = flat[i + 1]
    elseif string.byte(flat[i]) == 111 then -- o:
      opened[id], count = flat[i + 1], count + 1
    else -- i:
      invited = invited or {}
      invited[id] = flat[i + 1]
    end
  end
  return live, opened, count, invited
end

-- The participant of a session; a new record where it was lost.
local function participant_of(c, s)
  local p = load_participant(c, s.app, s.pid)
  if p then
    return p
  end
  p = new_participant(c, s.app, s.pid, s.xid, false)
  for sid in pairs(sessions_of(c, p.who)) do
    local found = session_fields(c, sid, {'state', 'status', 'rooms'})
    p.n = p.n + 1
    p.on = p.on + (found[1] == 'attached' and 1 or 0)
    if some(found[2]) then
      set_status(p, sid, found[2])
    end
    for _, name in ipairs(some(found[3]) and cjson.decode(found[3]) or {}) do
      rooms.put(c, p, name, 0)
    end
  end
  return p
end

-- As published by this call, or made now.
local function reply_participant(p)
  return p.json or participant_json(p)
end

local function flat_session(c, sid)
  return call('HGETALL', session_key(c, sid))
end

-- Why an owner no longer owns.
local function not_owner(c, s, sid)
  if not s then
    return unknown_session(c, sid)
  end
  if s.state == 'closed' then
    return refuse('ended', 'end_reason', s.reason)
  end
  return refuse('superseded')
end
