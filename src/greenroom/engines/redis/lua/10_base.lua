-- Helpers that every function stands on.
--
-- KEYS[1] is the partition, e.g. greenroom:{p17}: a hash of marker, clock, at, restored, changes. Every other key
-- begins with it, so that all keys of a call are in one slot. ARGV[1] is empty; tests alone give the
-- time in it (microseconds). ARGV[2] is one JSON object. A function answers {'ok', …} or {'no', word, details}.
--
-- Redis does not roll a function back: everything is checked first, then written.

local call -- redis.call, which is not there yet while the library is loaded; set as a function is entered

local DEAD_LEASE_MS = 86400000

-- Lua turns numbers above 10^14 into 1.7e+15 by itself (S21).
local function int(number)
  return string.format('%.0f', number)
end

-- Most texts need no escaping, and asking is cheaper than cjson.
local function quote(text)
  if string.find(text, '[%c"\\]') then
    return cjson.encode(text)
  end
  return '"' .. text .. '"'
end

local function json_value(value)
  local kind = type(value)
  if kind == 'string' then
    return quote(value)
  elseif kind == 'number' then
    return int(value)
  end
  return cjson.encode(value)
end

-- json('a', 1, 'b', nil) -> {"a":1}: what is nil is left out. Numbers are integers here.
local function json(...)
  local parts, count = {}, 0
  local arguments = {...}
  for i = 1, select('#', ...), 2 do
    local value = arguments[i + 1]
    if value ~= nil then
      count = count + 1
      parts[count] = '"' .. arguments[i] .. '":' .. json_value(value)
    end
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

local function some(text)
  if text == nil or text == false or text == '' then
    return nil
  end
  return text
end

local function number(text)
  return tonumber(text or '') or 0
end

local function as_table(flat)
  local out = {}
  for i = 1, #flat, 2 do
    out[flat[i]] = flat[i + 1]
  end
  return out
end

-- The hash as a table and as it came, or nil where there is none.
local function load_hash(key)
  local flat = call('HGETALL', key)
  if #flat == 0 then
    return nil
  end
  return as_table(flat), flat
end

-- Writes the named fields of the table; fields it does not know stay as they are (rolling upgrades).
local function save(key, record, names)
  local arguments, count = {}, 0
  for i = 1, #names do
    local value = record[names[i]]
    if value ~= nil then
      arguments[count + 1] = names[i]
      arguments[count + 2] = type(value) == 'number' and int(value) or value
      count = count + 2
    end
  end
  call('HSET', key, unpack(arguments))
end

local function refuse(word, ...)
  return {'no', word, json(...)}
end

local function engine_time(args)
  if args[1] ~= '' then
    return tonumber(args[1])
  end
  local time = call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- The partition's clock as a reaper's pass would set it now (S8). Due times count from here, so that no grace is short
-- by the time since the last pass.
local function clock_now(c)
  if c.at > 0 then
    return c.clock + math.max(0, math.min(c.ms - c.at, MAX_STEP_MS))
  end
  return c.clock
end

-- What a function works with; nil and a refusal where the partition has no marker (S15).
local function enter(keys, args)
  local us = engine_time(args)
  local ms = math.floor(us / 1000)
  local meta = call('HMGET', keys[1], 'marker', 'clock', 'restored', 'at', 'changes')
  local c = {
    P = keys[1],
    us = us,
    ms = ms,
    now = int(ms),
    arg = cjson.decode(args[2]),
    marker = meta[1],
    clock = number(meta[2]),
    restored = number(meta[3]),
    at = number(meta[4]),
    changes = number(meta[5]),
    hints = {},
  }
  if not meta[1] then
    return nil, refuse('recovering'), c
  end
  return c
end

-- What a call finds done already, by another connection or node, may be on no replica yet. WAIT counts what its own
-- connection has written, so such a call writes too before it is acknowledged (S16).
local function mark_repeated(c)
  call('HSET', c.P, 'repeated', c.now)
end

local function owner_key(app, pid)
  return #app .. ':' .. app .. ':' .. pid
end

local function session_key(c, sid)
  return c.P .. ':s:' .. sid
end

local function participant_key(c, who)
  return c.P .. ':p:' .. who
end

-- An unknown session: for 20 s after a restore its node may still write it back (S15).
local function unknown_session(c)
  if c.clock < c.restored + RECOVERING_MS then
    return refuse('recovering')
  end
  return refuse('state_lost')
end

-- The hint for readers of events, and the bytes written: once per call and application.
local function hint_events(c)
  for app, bytes in pairs(c.hints) do
    call('HINCRBY', c.P .. ':eb', app, bytes)
    call('SPUBLISH', c.P .. ':e', app)
  end
end

-- id: JSON, what follows `type`: JSON without braces.
local function emit(c, app, kind, id, pid, rest)
  local body = '{"id":' .. id .. ',"type":"' .. kind .. '","at":' .. c.now .. ',"participantId":' .. quote(pid) .. rest
    .. '}'
  -- 1-*: the sequence number alone counts, without holes, so that what was dropped can be counted (S17)
  call('XADD', c.P .. ':ev:' .. app, '1-*', 'e', body)
  c.hints[app] = (c.hints[app] or 0) + #body
end

local function note(c, sid, what, node, detail)
  local entry = '[' .. c.now .. ',"' .. what .. '",' .. quote(node or '') .. ',' .. quote(detail or '') .. ']'
  local key = c.P .. ':t:' .. sid
  if call('RPUSH', key, entry) > TIMELINE_ENTRIES then
    call('LTRIM', key, -TIMELINE_ENTRIES, -1)
  end
end

-- The library is put together from the files in order; each gets a number of functions to register.
local functions = {}

-- A function of a partition: body(c, request) runs where the partition has its marker (S15); hints of the events that it
-- stored go out after it.
local function define(name, body)
  functions[name] = function(keys, args)
    local c, no = enter(keys, args)
    if not c then
      return no
    end
    local reply = body(c, c.arg)
    hint_events(c)
    return reply
  end
end

-- One that runs without a marker too: it is part of a restore.
local function define_unmarked(name, body)
  functions[name] = function(keys, args)
    local c, _, bare = enter(keys, args)
    c = c or bare
    local reply = body(c, c.arg)
    hint_events(c)
    return reply
  end
end
