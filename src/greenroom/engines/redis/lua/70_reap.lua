-- Leases, the partition's clock (S8), and what is due in it.

-- Renews a lease, or takes it the first time. A lapsed one is never renewed (S7).
define('renew', function(c, r)
  local renewed = take_lease(c, r.lease, r.node, r.ms)
  if renewed then
    call('ZADD', c.P .. ':leases', r.leaving and '-inf' or int(c.clock + (r.ms or LEASE_MS)), r.lease)
    local last = call('HGET', c.P .. ':leaseof', r.node)
    if last ~= r.lease then
      if last and call('ZSCORE', c.P .. ':leases', last) then
        call('ZADD', c.P .. ':leases', '-inf', last) -- the node continues under a new one
      end
      call('HSET', c.P .. ':leaseof', r.node, r.lease)
    end
  end
  local apps = call('HGETALL', c.P .. ':apps')
  return {'ok', renewed and 1 or 0, c.marker, number(call('HGET', c.P, 'changes')), apps}
end)

local function move_clock(c)
  c.clock, c.clock_text = clock_now(c), nil
  c.at = c.ms
  call('HSET', c.P, 'clock', int(c.clock), 'at', int(c.ms))
end

local function detach_lapsed(c, sid)
  local s = load_session(c, sid)
  if not s or s.state ~= 'attached' then
    return false
  end
  local p = participant_of(c, s)
  local before = snapshot(p)
  detach_session(c, s, p, number(s.grace), 'its node was lost')
  finish(c, p, before)
  return true
end

-- Sessions of lapsed leases become detached. How many, and whether there are more.
local function lapse(c, limit)
  local count = 0
  for _, lease in ipairs(call('ZRANGEBYSCORE', c.P .. ':leases', '-inf', '(' .. int(c.clock))) do
    local held = c.P .. ':l:' .. lease
    for _, sid in ipairs(call('SRANDMEMBER', held, limit - count)) do
      if detach_lapsed(c, sid) then
        count = count + 1
      else
        call('SREM', held, sid)
      end
    end
    if call('SCARD', held) > 0 then
      return count, true
    end
    local node = call('HGET', c.P .. ':nodes', lease)
    if node and call('HGET', c.P .. ':leaseof', node) == lease then
      call('HDEL', c.P .. ':leaseof', node)
    end
    call('ZREM', c.P .. ':leases', lease)
    call('HDEL', c.P .. ':nodes', lease)
    call('ZREMRANGEBYSCORE', c.P .. ':dead', '-inf', int(c.clock))
    call('ZADD', c.P .. ':dead', int(c.clock + DEAD_LEASE_MS), lease)
  end
  return count, false
end

local due = {}

-- g: a grace is over.
function due.g(c, out, sid)
  local s, flat = load_session(c, sid)
  if s and s.state == 'detached' then
    local p = participant_of(c, s)
    local before = snapshot(p)
    before.unseen = true -- it was not seen now, but when it was lost
    out.ended[#out.ended + 1] = end_whole(c, s, flat, p, 'timeout', '')
    finish(c, p, before)
  end
end

-- d: a session has been detached for 2 s.
function due.d(c, _, sid)
  local s = load_session(c, sid)
  if s and s.state == 'detached' then
    emit_detached(c, s)
  end
end

-- t: a participant has been unreachable for 2 s.
function due.t(c, out, who)
  local p = load_hash(participant_key(c, who))
  if not p then
    return
  end
  p = load_participant(c, p.app, p.id)
  if presence(p) == 'unreachable' and p.shown ~= 'unreachable' then
    local before = snapshot(p)
    before.waiting = false
    finish(c, p, before, true)
    out.published = out.published + 1
  end
end

-- u: changes of a profile since the last event.
function due.u(c, _, who)
  local p = load_hash(participant_key(c, who))
  if not p or p.wait ~= '1' then
    return
  end
  p = load_participant(c, p.app, p.id)
  p.upd, p.wait = int(c.clock + UPDATE_EVENT_PERIOD_MS), '0'
  save(participant_key(c, who), p, {'upd', 'wait'})
  emit_participant(c, p, 'updated')
end

-- o: the openId of an ended session, or what is left of one that was forgotten before.
function due.o(c, _, sid)
  local s = load_session(c, sid)
  if s then
    forget_open_id(c, s)
  else
    call('HDEL', c.P .. ':gone', sid)
  end
end

-- f: an ended session and its timeline.
function due.f(c, out, sid)
  forget_session(c, sid)
  out.forgotten = out.forgotten + 1
end

local function forget_restrictions(c, out)
  local over = call('ZRANGEBYSCORE', c.P .. ':rx', '-inf', int(c.ms), 'LIMIT', 0, c.arg.limit)
  for _, member in ipairs(over) do
    local length, rest = string.match(member, '^(%d+):(.*)$')
    local app = string.sub(rest, 1, tonumber(length))
    call('HDEL', c.P .. ':r:' .. app, string.sub(rest, tonumber(length) + 2))
    call('ZREM', c.P .. ':rx', member)
    out.forgotten = out.forgotten + 1
  end
  return #over == c.arg.limit
end

local function forget_offline(c, out)
  for _, item in ipairs(c.arg.keep or {}) do
    local key = c.P .. ':off:' .. item[1]
    for _, pid in ipairs(call('ZRANGEBYSCORE', key, '-inf', int(c.clock - item[2]), 'LIMIT', 0, 20)) do
      local p = load_participant(c, item[1], pid)
      if p and p.n == 0 then
        forget_participant(c, p)
      end
      call('ZREM', key, pid)
      out.forgotten = out.forgotten + 1
    end
  end
end

-- Of a disabled application each node ends what it holds, and this what is detached (S18). Whether there is more.
local function end_disabled(c, out, limit)
  local ended = 0
  for _, app in ipairs(c.arg.disabled or {}) do
    if count_of(c, app) > 0 then
      local from = '[' .. app .. '\0'
      for _, member in ipairs(call('ZRANGEBYLEX', c.P .. ':live', from, '(' .. app .. '\1', 'LIMIT', 0, 500)) do
        local s, flat = load_session(c, string.sub(member, #app + 2))
        if s and s.state == 'detached' then
          if ended == limit then
            return true
          end
          ended = ended + 1
          local p = participant_of(c, s)
          local before = snapshot(p)
          before.unseen = true
          out.ended[#out.ended + 1] = end_whole(c, s, flat, p, 'application_disabled', '')
          finish(c, p, before)
        end
      end
    end
  end
  return false
end

define('reap', function(c, r)
  move_clock(c)
  local limit = c.arg.limit
  local out = {ended = {}, published = 0, forgotten = 0}
  local lag = 0
  local detached, more = lapse(c, limit)
  local items = call('ZRANGEBYSCORE', c.P .. ':due', '-inf', int(c.clock), 'WITHSCORES', 'LIMIT', 0, limit - detached)
  for i = 1, #items, 2 do
    lag = math.max(lag, c.clock - tonumber(items[i + 1]))
    call('ZREM', c.P .. ':due', items[i])
    due[string.sub(items[i], 1, 1)](c, out, string.sub(items[i], 2))
  end
  more = more or (limit > detached and #items == 2 * (limit - detached))
  more = end_disabled(c, out, limit) or more
  more = forget_restrictions(c, out) or more
  more = erase_piece(c) or more
  forget_offline(c, out)
  return {'ok', out.ended, detached, out.published, out.forgotten, lag, more and 1 or 0, #items / 2}
end)

-- Nodes, for people: in a slot of their own, KEYS[1] is greenroom:{nodes}.
functions.node = function(keys, args)
  local us = engine_time(args)
  local ms = math.floor(us / 1000)
  local r = cjson.decode(args[2])
  local records, seen = keys[1], keys[1] .. ':seen'
  if r.record then
    if r.leaving then
      call('HDEL', records, r.node)
      call('ZREM', seen, r.node)
    else
      call('HSET', records, r.node, r.record)
      call('ZADD', seen, int(ms), r.node)
    end
  end
  for _, node in ipairs(call('ZRANGEBYSCORE', seen, '-inf', int(ms - 3600000))) do
    call('HDEL', records, node)
    call('ZREM', seen, node)
  end
  return {'ok', ms, call('HGETALL', records), call('ZRANGE', seen, 0, -1, 'WITHSCORES')}
end

-- Whether a write is accepted here.
functions.probe = function(keys, args)
  call('SETEX', keys[1] .. ':probe', 60, '1')
  return {'ok'}
end

-- Sessions of each application in this partition (S3).
define('counts', function(c, r)
  return {'ok', call('HGETALL', c.P .. ':apps')}
end)
