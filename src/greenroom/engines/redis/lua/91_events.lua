-- The outbox: one stream per application and partition.

do -- a block of its own: one Lua function has at most 200 local names

local function stream(c)
  return c.P .. ':ev:' .. c.arg.app
end

-- The oldest kept, the last ever.
local function extent(c)
  local last = last_event(stream(c))
  local first = last > 0 and call('XRANGE', stream(c), '-', '+', 'COUNT', 1)[1]
  return first and sequence(first[1]) or last + 1, last
end

-- Events after a position, or the latest: marker, first kept, last ever, then number, body, number, body, …
define('events', function(c, r)
  local first, last = extent(c)
  local out = {}
  local erased = erased_in(c, r.app)
  if r.latest then
    r.position = math.max(0, last - r.limit)
  end
  if r.limit > 0 and last > r.position then
    for _, entry in ipairs(call('XRANGE', stream(c), '1-' .. int(r.position), '+', 'COUNT', r.limit)) do
      local seq = sequence(entry[1])
      out[#out + 1] = seq
      out[#out + 1] = erased and without_names(entry[2][2], seq, erased) or entry[2][2]
    end
  end
  return {'ok', c.marker, first, last, out}
end)

-- Of what was read, whether it is still there, and a write behind it for WAIT: what a failover could still take back is
-- given to nobody (S16). Else its number would be another event's, and a reader that was past it would never get that one.
define('confirm', function(c, r)
  if r.id then
    local place = '1-' .. int(r.position - 1)
    local entry = call('XRANGE', stream(c), place, place)[1]
    if not entry or string.find(entry[2][2], '{"id":' .. quote(r.id) .. ',', 1, true) ~= 1 then
      return refuse('recovering')
    end
  end
  call('HSET', c.P, 'confirmed', c.now)
  return {'ok'}
end)

local RANKS = {['participant.updated'] = 0, ['session.ended'] = 2}

local function drop_rank(body)
  return RANKS[string.match(body, '"type":"([^"]*)"')] or 1
end

local function drop(c, ids, bytes)
  if #ids > 0 then
    call('XDEL', stream(c), unpack(ids))
    call('HINCRBY', c.P .. ':eb', c.arg.app, int(-bytes))
  end
end

-- While a stream is written again nothing may go from it: it would come back.
local function is_rewritten(c)
  return call('EXISTS', c.P .. ':erj:' .. c.arg.app) == 1
end

-- Drops events older than `age`, the oldest `limit` of them.
define('trim_old', function(c, r)
  local ids, bytes = {}, 0
  for _, entry in ipairs(is_rewritten(c) and {} or call('XRANGE', stream(c), '-', '+', 'COUNT', r.limit)) do
    if number(string.match(entry[2][2], '"at":(%d+)')) >= c.ms - r.age then
      break
    end
    ids[#ids + 1] = entry[1]
    bytes = bytes + #entry[2][2]
  end
  drop(c, ids, bytes)
  return {'ok', #ids, bytes}
end)

-- Drops the oldest events of at most this rank, `drop` of them and `drop_bytes` bytes, but never below the `keep` events
-- and `keep_bytes` bytes that were to be left when they were counted: others may have dropped some since. Looks at `limit`
-- events; where it has looked is remembered, so that no event is looked at twice for one rank.
-- How many went, their bytes, and whether none of the rank is left.
define('trim_surplus', function(c, r)
  local key, searched = stream(c), c.P .. ':et:' .. r.app
  if is_rewritten(c) then
    return {'ok', 0, 0, 1}
  end
  local count = math.min(r.drop, call('XLEN', key) - r.keep)
  local size = math.min(r.drop_bytes, number(call('HGET', c.P .. ':eb', r.app)) - r.keep_bytes)
  local at = r.rank < 2 and number(call('HGET', searched, int(r.rank))) or 0
  if at > last_event(key) then
    at = 0 -- the stream lost its past since
  end
  local entries = call('XRANGE', key, '1-' .. int(at), '+', 'COUNT', r.limit)
  local ids, bytes, all = {}, 0, #entries < r.limit and 1 or 0
  for _, entry in ipairs(entries) do
    if #ids >= count and bytes >= size then
      all = 0
      break
    end
    at = sequence(entry[1])
    if drop_rank(entry[2][2]) <= r.rank then
      ids[#ids + 1] = entry[1]
      bytes = bytes + #entry[2][2]
    end
  end
  drop(c, ids, bytes)
  if r.rank < 2 then
    call('HSET', searched, int(r.rank), int(at))
  end
  return {'ok', #ids, bytes, all}
end)

-- How many events and bytes each application has here, and whether some are older than `age`: app, count, bytes, old, …
define('extents', function(c, r)
  local out = {}
  for app, bytes in pairs(as_table(call('HGETALL', c.P .. ':eb'))) do
    local key = c.P .. ':ev:' .. app
    local first = call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
    local old = first and number(string.match(first[2][2], '"at":(%d+)')) < c.ms - r.age
    out[#out + 1] = app
    out[#out + 1] = call('XLEN', key)
    out[#out + 1] = tonumber(bytes)
    out[#out + 1] = old and 1 or 0
  end
  return {'ok', out}
end)

-- Readers: in the application's home partition.
define('acknowledge', function(c, r)
  call('HSET', c.P .. ':ack:' .. c.arg.app, c.arg.reader, c.arg.cursor)
  return {'ok'}
end)

define('acknowledged', function(c, r)
  return {'ok', call('HGET', c.P .. ':ack:' .. c.arg.app, c.arg.reader)}
end)

local function aside_key(c)
  return c.P .. ':aside:' .. owner_key(c.arg.app, c.arg.reader)
end

define('set_aside', function(c, r)
  local key = aside_key(c)
  for _, item in ipairs(c.arg.items) do
    local order = call('HINCRBY', c.P, 'aside', 1)
    call('ZADD', key, 'NX', int(order), item[1])
    call('HSET', key .. ':b', item[1], item[2])
  end
  while call('ZCARD', key) > c.arg.keep do
    call('HDEL', key .. ':b', call('ZPOPMIN', key)[1])
  end
  return {'ok'}
end)

define('aside', function(c, r)
  local key, out = aside_key(c), {}
  for i, id in ipairs(call('ZRANGE', key, r.start, r.start + r.limit - 1)) do
    out[i] = call('HGET', key .. ':b', id)
  end
  return {'ok', out}
end)

define('drop_aside', function(c, r)
  local key, dropped = aside_key(c), 0
  for _, id in ipairs(c.arg.ids) do
    dropped = dropped + call('ZREM', key, id)
    call('HDEL', key .. ':b', id)
  end
  return {'ok', dropped}
end)

define('claim', function(c, r)
  local key = c.P .. ':claim:' .. r.app
  local held = call('HGET', key, r.reader)
  local claim = held and cjson.decode(held) or nil
  if claim and claim.node ~= r.node and claim['until'] > c.ms then
    return {'ok', 0}
  end
  call('HSET', key, r.reader, json('node', r.node, 'until', c.ms + r.ms))
  return {'ok', 1}
end)

end
