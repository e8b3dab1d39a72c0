-- Rooms in their own partition: a room's record, its members, and what keeps participants out. <room> is
-- owner_key(application, name).
--
-- :R:<room>  the room; kept with `ended` for 10 min after its end, for the version and the removals
-- :M:<room>  members: participant and '<number> <joined> <record version> <sessions>\n<record>'; and counter-marks: '!' and
--            the SHA-1 of the participant, so that a kick outlives an erase, and {n, why, until, p}; p: the participant,
--            while its row may have the room still
-- :I:<room>  their ids, in order; :V:<room> their ids by the version of the last change
-- :G:<room>  who left, by version (R5)
-- :rl        last numbers of those who are no members: <room>\0<participant>, for 10 min
-- :rko       counter-marks of kicks by their end (ms), for the nodes' copies; the partition's `kicks` rises with each
-- :rd        what is due, by the partition's clock: r, e, f, k (64_room_due) and a room or what it is about
-- :rooms     names by application; :rid ids with their rooms; :rn:apps how many of each application

do -- a block of its own: one Lua function has at most 200 local names

local ROOM = {'ver', 'n', 'id', 'det', 'ttl', 'by', 'opened', 'ending', 'ended', 'gone', 'msg', 'shown', 'removed'}
local MEMORY_US = REMOVAL_MEMORY_MS * 1000
local REMOVALS_UNSEEN = 16 -- from one look at old ones to the next

function rooms.load(c, app, name)
  local key = owner_key(app, name)
  c.rooms = c.rooms or {}
  local room = c.rooms[key]
  if room then
    return room
  end
  local stored = c.P .. ':R:' .. key
  local found = call('HMGET', stored, unpack(ROOM))
  room = {app = app, name = name, key = key, stored = stored, joined = {}, changed = {}, left = {}}
  for i = 1, #ROOM do
    room[ROOM[i]] = some(found[i])
  end
  room.ver, room.n, room.gone = number(room.ver), number(room.n), number(room.gone)
  room.gone_before = room.gone
  room.ttl = number(room.ttl)
  room.by = room.by or ''
  room.known = room.id ~= nil
  room.open = room.known and not room.ended
  room.detailed = room.det ~= '0'
  c.rooms[key] = room
  c.touched = c.touched or {}
  return room
end

function rooms.load_by_key(c, key)
  local length, rest = string.match(key, '^(%d+):(.*)$')
  return rooms.load(c, string.sub(rest, 1, tonumber(length)), string.sub(rest, tonumber(length) + 2))
end

-- Something about the roster changes: one version for all that this call changes.
local function touch(c, room)
  if not room.since then
    room.since = room.ver
    room.ver = max(room.ver + 1, c.us)
    room.version = int(room.ver)
    room.fields = {}
    c.touched[#c.touched + 1] = room
  end
end

-- Fields of a room that was touched, written with its version.
local function put(room, ...)
  local fields = room.fields
  for _, value in ipairs({...}) do
    fields[#fields + 1] = value
  end
end

-- at: the number as text.
function rooms.emit(c, room, what, pid, at, reason)
  emit(c, room.app, 'room.' .. what, room.id .. ':' .. pid .. ':' .. at .. ':' .. what, pid,
    ',"data":{"room":' .. quote(room.name) .. ',"roomId":' .. quote(room.id)
    .. (reason and (',"reason":' .. quote(reason)) or '') .. '}')
end

-- The attributes that members show, a JSON list: as whoever creates or joins says.
function rooms.show(room, shown)
  if not shown or shown == (room.shown or '[]') then
    return
  end
  room.shown = shown
  if room.since then
    put(room, 'shown', shown)
  else
    call('HSET', room.stored, 'shown', shown)
  end
end

function rooms.count_of(c, app)
  return number(call('HGET', c.P .. ':rn:apps', app))
end

-- One room more, or less, of the application in this partition. What was counted is answered (S3).
local function count_room(c, app, by)
  local count = call('HINCRBY', c.P .. ':rn:apps', app, by)
  if count <= 0 then
    call('HDEL', c.P .. ':rn:apps', app)
  end
  c.counted = c.counted or {}
  c.counted[#c.counted + 1] = app
  c.counted[#c.counted + 1] = count
end

-- Opens what is not there. r: id, by, ttl, detailed.
function rooms.open(c, room, r)
  touch(c, room)
  room.counts = true
  if room.known then
    call('ZREM', c.P .. ':rd', 'f' .. room.key)
    rooms.forget_erased(c, room)
    put(room, 'ending', '', 'ended', '')
  else
    room.gone = room.ver -- what was held of a room of this name before it was forgotten says nothing about this one
  end
  room.id, room.by, room.ttl, room.detailed, room.opened = r.id, r.by or '', r.ttl or 0, r.detailed ~= false, c.now
  room.ending, room.ended, room.known, room.open, room.n = nil, nil, true, true, 0
  put(room, 'app', room.app, 'name', room.name, 'id', room.id, 'by', room.by, 'ttl', int(room.ttl), 'det',
    room.detailed and '1' or '0', 'opened', room.opened)
  call('ZADD', c.P .. ':rooms', 0, room.app .. '\0' .. room.name)
  call('HSET', c.P .. ':rid', owner_key(room.app, room.id), room.name)
  count_room(c, room.app, 1)
  rooms.emit(c, room, 'opened', room.by, room.version)
end

function rooms.end_room(c, room)
  touch(c, room)
  room.counts = true
  rooms.emit(c, room, 'ended', '', room.version)
  if room.ending then
    call('ZREM', c.P .. ':rd', 'r' .. room.key, 'e' .. room.key)
  end
  room.ended, room.open, room.ending = '1', false, nil
  put(room, 'ended', '1', 'ending', '', 'by', '')
  call('ZREM', c.P .. ':rooms', room.app .. '\0' .. room.name)
  call('HDEL', c.P .. ':rid', owner_key(room.app, room.id))
  count_room(c, room.app, -1)
  call('ZADD', c.P .. ':rd', int(clock_now(c) + REMOVAL_MEMORY_MS), 'f' .. room.key)
end

local KINDS = {'joined', 'changed', 'left'}

-- What this call changed is stored and published, each room once; of a counted one only another count.
local function flush(c)
  for _, room in ipairs(c.touched or {}) do
    local count = int(room.n)
    if room.gone ~= room.gone_before then
      put(room, 'gone', int(room.gone))
    end
    call('HSET', room.stored, 'ver', room.version, 'n', count, unpack(room.fields))
    if room.detailed or room.counts then
      local body = 'c{"version":' .. room.version .. ',"since":' .. (room.detailed and int(room.since) or '0') .. ',"count":'
        .. count
      for i = 1, room.detailed and 3 or 0 do
        local kind = KINDS[i]
        if #room[kind] > 0 then
          body = body .. ',"' .. kind .. '":[' .. table.concat(room[kind], ',') .. ']'
        end
      end
      call('SPUBLISH', c.P .. ':r:' .. room.key, body .. (room.detailed and '' or ',"detailed":false')
        .. (room.ended and ',"ended":true}' or room.open and ',"id":' .. quote(room.id) .. '}' or '}'))
    end
  end
end

-- A function of the room's own partition: what it changed is stored and published at its end.
function rooms.define(name, body)
  define(name, function(c, r)
    local reply = body(c, r)
    flush(c)
    return reply
  end)
end

-- -- members ----------------------------------------------------------------------------------------------------------

function rooms.unpack_member(packed)
  local last, joined, version, sessions, record = string.match(packed, '^(%d+) (%d+) (%d+) ([^\n]*)\n(.*)$')
  return {last = tonumber(last), joined = joined, version = version, sessions = sessions, record = record}
end

-- Whether one of the sessions is connected, and how many there are.
function rooms.presence_of(sessions)
  local count = 1
  if find(sessions, ',', 1, true) then
    local _, others = string.gsub(sessions, ',', ',')
    count = others + 1
  end
  return find(sessions, '+', 1, true) and 'online' or 'unreachable', count
end

-- A member as JSON: the record is an object without what the sessions say.
function rooms.member_json(m)
  local shown, count = rooms.presence_of(m.sessions)
  return string.sub(m.record, 1, -2) .. ',"presence":"' .. shown .. '","sessions":' .. int(count) .. ',"joined_at":'
    .. m.joined .. ',"record_version":' .. m.version .. '}'
end

function rooms.store_member(c, room, pid, m)
  call('HSET', c.P .. ':M:' .. room.key, pid,
    int(m.last) .. ' ' .. m.joined .. ' ' .. m.version .. ' ' .. m.sessions .. '\n' .. m.record)
end

function rooms.put_member(c, room, pid, m, kind)
  touch(c, room)
  rooms.store_member(c, room, pid, m)
  call('ZADD', c.P .. ':V:' .. room.key, room.version, pid)
  if room.detailed then
    room[kind][#room[kind] + 1] = rooms.member_json(m)
  end
end

function rooms.last_key(room, pid)
  return room.key .. '\0' .. pid
end

-- The number of a participant that is no member, 0 where it is forgotten.
function rooms.last_of(c, room, pid)
  return tonumber(call('ZSCORE', c.P .. ':rl', rooms.last_key(room, pid)) or '0')
end

-- Forgets removals beyond the latest, and those of long ago: now and then. added: how many came.
local function trim_removals(c, room, added)
  local removed = number(room.removed) + added
  local is_time = removed >= REMOVALS_UNSEEN
  room.removed = int(is_time and 0 or removed)
  put(room, 'removed', room.removed)
  if not is_time then
    return
  end
  local key = c.P .. ':G:' .. room.key
  local surplus = call('ZCARD', key) - REMOVALS_KEPT
  local old = call('ZRANGEBYSCORE', key, '-inf', int(c.us - MEMORY_US), 'LIMIT', 0, 100)
  local most = surplus > 0 and call('ZRANGE', key, 0, surplus - 1, 'WITHSCORES') or {}
  if #most > 0 then
    room.gone = max(room.gone, tonumber(most[#most]))
    for i = 1, #most, 2 do
      old[#old + 1] = most[i]
    end
  end
  if #old > 0 then
    room.gone = max(room.gone, tonumber(call('ZSCORE', key, old[1])))
    for from = 1, #old, 500 do
      call('ZREM', key, unpack(old, from, math.min(#old, from + 499)))
    end
  end
end

-- Members leave under numbers: {pid, number}, …, at most some hundred. The last one out starts the room's end. Who was
-- erased leaves as kicked, and no roster remembers it: whoever knows it from before reads all of it.
function rooms.remove_members(c, room, gone, reason)
  touch(c, room)
  room.counts = true
  local is_erased = reason == 'erased'
  reason = is_erased and 'kicked' or reason
  local pids, removals, numbers = {}, {}, {}
  for i, each in ipairs(gone) do
    local pid, at = each[1], int(each[2])
    pids[i] = pid
    removals[2 * i - 1], removals[2 * i] = room.version, pid
    numbers[2 * i - 1], numbers[2 * i] = at, rooms.last_key(room, pid)
    if room.detailed then
      room.left[#room.left + 1] = '["' .. pid .. '",' .. quote(reason) .. ']'
    end
    rooms.emit(c, room, 'left', pid, at, reason)
  end
  call('HDEL', c.P .. ':M:' .. room.key, unpack(pids))
  call('ZREM', c.P .. ':I:' .. room.key, unpack(pids))
  call('ZREM', c.P .. ':V:' .. room.key, unpack(pids))
  call('ZADD', c.P .. ':rl', unpack(numbers))
  if is_erased then
    room.gone = room.ver
  else
    call('ZADD', c.P .. ':G:' .. room.key, unpack(removals))
    trim_removals(c, room, #gone)
  end
  room.n = max(0, room.n - #gone)
  if room.n == 0 then
    if room.ttl == 0 or room.ending then
      rooms.end_room(c, room)
    else
      call('ZADD', c.P .. ':rd', int(clock_now(c) + room.ttl), 'r' .. room.key)
    end
  end
end

-- -- counter-marks (R2 5, R8, R11) ------------------------------------------------------------------------------------

function rooms.counter_mark(c, room, hashed)
  local stored = call('HGET', c.P .. ':M:' .. room.key, '!' .. hashed)
  return stored and cjson.decode(stored) or nil
end

-- The member, or nil, and the counter-mark, or nil.
function rooms.look_up(c, room, pid, hashed)
  local found = call('HMGET', c.P .. ':M:' .. room.key, pid, '!' .. hashed)
  return found[1] and rooms.unpack_member(found[1]) or nil, found[2] and cjson.decode(found[2]) or nil
end

function rooms.put_counter_mark(c, room, hashed, mark)
  call('HSET', c.P .. ':M:' .. room.key, '!' .. hashed, json('n', mark.n, 'why', mark.why, 'until', mark['until'], 'p', mark.p))
  local due = clock_now(c) + MARK_AGE_MS
  if not mark.p then
    due = clock_now(c) + max(0, mark['until'] - c.ms)
  end
  call('ZADD', c.P .. ':rd', int(due), 'k' .. rooms.last_key(room, hashed))
end

function rooms.drop_counter_mark(c, room, hashed)
  call('HDEL', c.P .. ':M:' .. room.key, '!' .. hashed)
  call('ZREM', c.P .. ':rd', 'k' .. rooms.last_key(room, hashed))
end

function rooms.is_kept_out(c, mark)
  return mark['until'] ~= nil and mark['until'] > c.ms
end

end
