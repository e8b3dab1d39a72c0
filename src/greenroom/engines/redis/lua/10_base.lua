-- Helpers that every function stands on.
--
-- KEYS[1] is the partition, e.g. greenroom:{p17}: a hash of marker, clock, at, restored, changes. Every other key
-- begins with it, so that all keys of a call are in one slot. ARGV[1] is empty; tests alone give the
-- time in it (microseconds). What follows is the request: one JSON object, or for the functions of a session's life a list
-- of texts, joined (REQUESTS, made from arguments.py: reading JSON was a tenth of an open). A function answers {'ok', …} or
-- {'no', word, details}.
--
-- Most of what a function costs is Lua, not Redis: each text made is hashed, each number written by printf (also one that
-- is given to a command: so '1' and not 1), each command has its arguments copied. So what is needed twice is made once,
-- and what is not needed is not made.
--
-- Redis does not roll a function back: everything is checked first, then written.

local DEAD_LEASE_MS = 86400000

-- Lua turns numbers above 10^14 into 1.7e+15 by itself (S21).
local SMALL = {[0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '10'}

local function int(number)
  return SMALL[number] or format('%d', number)
end

-- Most texts need no escaping, and asking is cheaper than cjson.
local function quote(text)
  if find(text, '[%c"\\]') then
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

-- A list with room for what follows: one that grows is copied each time it doubles.
local function row(first)
  return {first, false, false, false, false, false, false, false, false, false, false, false, false, false, false, false,
    false, false, false, false, false, false, false, false, false, false, false, false, false, false, false, false}
end

-- Writes the named fields of the table; fields it does not know stay as they are (rolling upgrades).
local function save(key, record, names)
  local arguments, count = row(key), 1
  for i = 1, #names do
    local name = names[i]
    local value = record[name]
    if value ~= nil then
      arguments[count + 1] = name
      arguments[count + 2] = type(value) == 'number' and int(value) or value
      count = count + 2
    end
  end
  call('HSET', unpack(arguments, 1, count))
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
    return c.clock + max(0, math.min(c.ms - c.at, MAX_STEP_MS))
  end
  return c.clock
end

-- The partition's clock as the last pass set it.
local function clock_text(c)
  return c.clock_text or int(c.clock)
end

-- What a function works with; nil and a refusal where the partition has no marker (S15).
local function enter(keys, args)
  local us = engine_time(args)
  local ms = math.floor(us / 1000)
  local meta = call('HMGET', keys[1], 'marker', 'clock', 'at')
  local c = {
    P = keys[1],
    us = us,
    ms = ms,
    now = int(ms),
    marker = meta[1],
    clock_text = meta[2],
    clock = number(meta[2]),
    at = number(meta[3]),
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

-- Why a session ended that was forgotten before its openId's time (`forget_surplus`), or false.
local function end_of_forgotten(c, sid)
  return call('HGET', c.P .. ':gone', sid)
end

-- An unknown session: for 20 s after a restore its node may still write it back (S15).
local function unknown_session(c, sid)
  local reason = end_of_forgotten(c, sid)
  if reason then
    return refuse('ended', 'end_reason', reason)
  end
  if c.clock < number(call('HGET', c.P, 'restored')) + RECOVERING_MS then
    return refuse('recovering')
  end
  return refuse('state_lost')
end

-- The hint for readers of events, and the bytes written: once per call and application.
local function hint_events(c)
  for app, bytes in pairs(c.hints) do
    call('HINCRBY', c.P .. ':eb', app, int(bytes))
    call('SPUBLISH', c.P .. ':e', app)
  end
end

local function store_event(c, app, body)
  -- 1-*: the sequence number alone counts, without holes, so that what was dropped can be counted (S17)
  call('XADD', c.P .. ':ev:' .. app, '1-*', 'e', body)
  c.hints[app] = (c.hints[app] or 0) + #body
end

-- rest: JSON without braces. Ids are the service's own: nothing in them needs an escape.
local function emit(c, app, kind, id, pid, rest)
  store_event(c, app, '{"id":"' .. id .. '","type":"' .. kind .. '","at":' .. c.now .. ',"participantId":"' .. pid .. '"'
    .. rest .. '}')
end

local function timeline_entry(at, what, node, detail)
  return '[' .. at .. ',"' .. what .. '",' .. quote(node or '') .. ',' .. quote(detail or '') .. ']'
end

local function opened_entry(s)
  return timeline_entry(s.opened, 'opened', s.node, s.addr)
end

-- What happened to a session between its begin and its end: these two are in its hash, and most sessions have no more.
-- The first entry puts the begin before it, so it comes before the session's node and address change.
local function note(c, s, what, node, detail)
  local key, entry = c.P .. ':t:' .. s.id, timeline_entry(c.now, what, node, detail)
  local length = call('RPUSHX', key, entry)
  if length == 0 then
    call('RPUSH', key, opened_entry(s), entry)
  elseif length > TIMELINE_ENTRIES then
    call('LTRIM', key, -TIMELINE_ENTRIES, -1)
  end
end

local function timeline(c, s)
  local entries = call('LRANGE', c.P .. ':t:' .. s.id, 0, -1)
  if #entries == 0 then
    entries[1] = opened_entry(s)
  end
  -- library 2 and older stored the end
  if s.state == 'closed' and not string.find(entries[#entries], '^%[%d+,"ended"') then
    local why = some(s.text) and (s.reason .. ': ' .. s.text) or s.reason
    entries[#entries + 1] = timeline_entry(s.ended, 'ended', s.node, why)
  end
  return {unpack(entries, math.max(1, #entries - TIMELINE_ENTRIES + 1))}
end

-- The library is put together from the files in order; each gets a number of functions to register.
local functions = {}

local function decode(args)
  return cjson.decode(args[2])
end

-- Hints of the events that a function stored go out after it. The marks that it made (R2) are the last of its reply: the
-- node that asked settles them at once.
local function run(c, body, request)
  c.arg = request
  local reply = body(c, request)
  hint_events(c)
  if c.marks then
    reply[#reply + 1] = c.marks
  end
  return reply
end

-- A function of a partition: body(c, request) runs where the partition has its marker (S15).
local function define(name, body)
  local request_of = REQUESTS[name] or decode
  functions[name] = function(keys, args)
    local c, no = enter(keys, args)
    if not c then
      return no
    end
    return run(c, body, request_of(args))
  end
end

-- One that runs without a marker too: it is part of a restore.
local function define_unmarked(name, body)
  functions[name] = function(keys, args)
    local c, _, bare = enter(keys, args)
    return run(c or bare, body, decode(args))
  end
end
