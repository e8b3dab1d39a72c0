-- The outbox: one stream per application and partition.

local function stream(c)
  return c.P .. ':ev:' .. c.arg.app
end

-- Events are numbered from 1, ids from 1-0.
local function sequence(id)
  return number(string.match(id, '%-(%d+)$')) + 1
end

-- The oldest kept, the last ever, how many, how many bytes.
local function extent(c)
  local key = stream(c)
  local first = call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
  if call('EXISTS', key) == 0 then
    return 1, 0
  end
  local last = sequence(as_table(call('XINFO', 'STREAM', key))['last-generated-id'])
  return first and sequence(first[1]) or last + 1, last
end

-- Events after a position: marker, first kept, last ever, then number, body, number, body, …
define('events', function(c, r)
  local first, last = extent(c)
  local out = {}
  if r.limit > 0 and last > r.position then
    for _, entry in ipairs(call('XRANGE', stream(c), '1-' .. int(r.position), '+', 'COUNT', r.limit)) do
      out[#out + 1] = sequence(entry[1])
      out[#out + 1] = entry[2][2]
    end
  end
  return {'ok', c.marker, first, last, out}
end)

-- Of what was read, whether it is still there, and a write behind it for WAIT: what a failover could still take back is
-- given to nobody (S16). Else its number would be another event's, which who had read so far would never hear of.
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

-- Drops the oldest: those older than `age`, and those beyond the latest `keep`. At most `limit`. Several nodes may ask.
define('trim', function(c, r)
  local key = stream(c)
  local bytes, count, last = 0, 0, nil
  local excess = call('XLEN', key) - r.keep
  for _, entry in ipairs(call('XRANGE', key, '-', '+', 'COUNT', r.limit)) do
    local at = number(string.match(entry[2][2], '"at":(%d+)'))
    if at >= c.ms - r.age and count >= excess then
      break
    end
    count = count + 1
    bytes = bytes + #entry[2][2]
    last = sequence(entry[1])
  end
  if last then
    call('XTRIM', key, 'MINID', '=', '1-' .. int(last))
    call('HINCRBY', c.P .. ':eb', r.app, -bytes)
  end
  return {'ok', count, bytes}
end)

-- How many events and bytes each application has here: app, count, bytes, …
define('extents', function(c, r)
  local out = {}
  for app, bytes in pairs(as_table(call('HGETALL', c.P .. ':eb'))) do
    out[#out + 1] = app
    out[#out + 1] = call('XLEN', c.P .. ':ev:' .. app)
    out[#out + 1] = tonumber(bytes)
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
  for i, id in ipairs(call('ZRANGE', key, 0, c.arg.limit - 1)) do
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
