-- Rooms in their own partition: step three of R2, and what is asked of a room. <room> is owner_key(application, name).
--
-- :R:<room>  the room; kept with `ended` for 10 min after its end, for the version and the removals
-- :M:<room>  members: participant and '<number> <joined> <record version> <sessions>\n<record>'
-- :I:<room>  their ids, in order; :V:<room> their ids by the version of the last change
-- :G:<room>  who left, by version (R5)
-- :rl        last numbers of those who are no members: <room>\0<participant>, for 10 min
-- :rc:<room> counter-marks by the SHA-1 of the participant, so that a kick outlives an erase: {n, why, until, p}; p: the
--            participant, while its row may have the room still
-- :rko       those of kicks by their end (ms), for the nodes' copies; the partition's `kicks` rises with each
-- :rd        what is due, by the partition's clock: r, e, f, k (below) and a room or what it is about
-- :rooms     names by application; :rid ids with their rooms; :rn:apps how many of each application

do -- a block of its own: one Lua function has at most 200 local names

local ROOM = {'ver', 'n', 'id', 'det', 'ttl', 'by', 'opened', 'ending', 'ended', 'gone', 'msg', 'shown'}
local MEMORY_US = REMOVAL_MEMORY_MS * 1000

function rooms.load(c, app, name)
  local key = owner_key(app, name)
  c.rooms = c.rooms or {}
  local room = c.rooms[key]
  if room then
    return room
  end
  local found = call('HMGET', c.P .. ':R:' .. key, unpack(ROOM))
  room = {app = app, name = name, key = key, joined = {}, changed = {}, left = {}}
  for i = 1, #ROOM do
    room[ROOM[i]] = some(found[i])
  end
  room.ver, room.n, room.gone = number(room.ver), number(room.n), number(room.gone)
  room.ttl = number(room.ttl)
  room.by = room.by or ''
  room.known = room.id ~= nil
  room.open = room.known and not room.ended
  room.detailed = room.det ~= '0'
  c.rooms[key] = room
  c.touched = c.touched or {}
  return room
end

local function load_by_key(c, key)
  local length, rest = string.match(key, '^(%d+):(.*)$')
  return rooms.load(c, string.sub(rest, 1, tonumber(length)), string.sub(rest, tonumber(length) + 2))
end

-- Something about the roster changes: one version for all that this call changes.
local function touch(c, room)
  if not room.since then
    room.since = room.ver
    room.ver = max(room.ver + 1, c.us)
    c.touched[#c.touched + 1] = room
  end
end

local function emit_room(c, room, what, pid, at, reason)
  emit(c, room.app, 'room.' .. what, room.id .. ':' .. pid .. ':' .. int(at) .. ':' .. what, pid,
    ',"data":{"room":' .. quote(room.name) .. ',"roomId":' .. quote(room.id)
    .. (reason and (',"reason":' .. quote(reason)) or '') .. '}')
end

-- The attributes that members show, a JSON list: as whoever creates or joins says.
local function set_shown(c, room, shown)
  if shown and shown ~= (room.shown or '[]') then
    room.shown = shown
    call('HSET', c.P .. ':R:' .. room.key, 'shown', shown)
  end
end

-- The record with those attributes that the room shows, as far as they are MAX_ROSTER_ATTRIBUTES_BYTES together.
local function with_attributes(room, record, attributes)
  if not attributes or not room.shown or room.shown == '[]' then
    return record
  end
  local all, parts, left = cjson.decode(attributes), {}, MAX_ROSTER_ATTRIBUTES_BYTES
  for _, name in ipairs(cjson.decode(room.shown)) do
    local value = all[name]
    if value and #name + #value <= left then
      left = left - #name - #value
      parts[#parts + 1] = quote(name) .. ':' .. quote(value)
    end
  end
  return #parts > 0 and string.sub(record, 1, -2) .. ',"attributes":{' .. table.concat(parts, ',') .. '}}' or record
end

local function rooms_of(c, app)
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
local function open_room(c, room, r)
  touch(c, room)
  room.counts = true
  if room.known then
    call('ZREM', c.P .. ':rd', 'f' .. room.key)
    call('HDEL', c.P .. ':R:' .. room.key, 'ending', 'ended')
  else
    room.gone = room.ver -- what was held of a room of this name before it was forgotten says nothing about this one
  end
  room.id, room.by, room.ttl, room.detailed, room.opened = r.id, r.by or '', r.ttl or 0, r.detailed ~= false, c.now
  room.ending, room.ended, room.known, room.open, room.n = nil, nil, true, true, 0
  call('HSET', c.P .. ':R:' .. room.key, 'app', room.app, 'name', room.name, 'id', room.id, 'by', room.by, 'ttl',
    int(room.ttl), 'det', room.detailed and '1' or '0', 'opened', room.opened)
  call('ZADD', c.P .. ':rooms', 0, room.app .. '\0' .. room.name)
  call('HSET', c.P .. ':rid', owner_key(room.app, room.id), room.name)
  count_room(c, room.app, 1)
  emit_room(c, room, 'opened', room.by, room.ver)
end

local function end_room(c, room)
  touch(c, room)
  room.counts = true
  emit_room(c, room, 'ended', '', room.ver)
  room.ended, room.open, room.ending = '1', false, nil
  call('HSET', c.P .. ':R:' .. room.key, 'ended', '1', 'ending', '')
  call('ZREM', c.P .. ':rooms', room.app .. '\0' .. room.name)
  call('HDEL', c.P .. ':rid', owner_key(room.app, room.id))
  count_room(c, room.app, -1)
  call('ZREM', c.P .. ':rd', 'r' .. room.key, 'e' .. room.key)
  call('ZADD', c.P .. ':rd', int(clock_now(c) + REMOVAL_MEMORY_MS), 'f' .. room.key)
end

-- What this call changed is stored and published, each room once; of a counted one only another count.
local function flush(c)
  for _, room in ipairs(c.touched or {}) do
    call('HSET', c.P .. ':R:' .. room.key, 'ver', int(room.ver), 'n', int(room.n), 'gone', int(room.gone))
    local since = room.detailed and int(room.since) or '0'
    local parts = {'c{"version":', int(room.ver), ',"since":', since, ',"count":', int(room.n)}
    for _, kind in ipairs(room.detailed and {'joined', 'changed', 'left'} or {}) do
      if #room[kind] > 0 then
        parts[#parts + 1] = ',"' .. kind .. '":[' .. table.concat(room[kind], ',') .. ']'
      end
    end
    parts[#parts + 1] = room.detailed and '' or ',"detailed":false'
    parts[#parts + 1] = room.ended and ',"ended":true}' or room.open and ',"id":' .. quote(room.id) .. '}' or '}'
    if room.detailed or room.counts then
      call('SPUBLISH', c.P .. ':r:' .. room.key, table.concat(parts))
    end
  end
end

-- A call of the room's own partition: what it changed is stored and published at its end.
local function define_room(name, body)
  define(name, function(c, r)
    local reply = body(c, r)
    flush(c)
    return reply
  end)
end

-- -- members ----------------------------------------------------------------------------------------------------------

local function unpack_member(packed)
  local last, joined, version, sessions, record = string.match(packed, '^(%d+) (%d+) (%d+) ([^\n]*)\n(.*)$')
  return {last = tonumber(last), joined = joined, version = version, sessions = sessions, record = record}
end

local function presence_of(sessions)
  local _, others = string.gsub(sessions, ',', ',')
  return find(sessions, '+', 1, true) and 'online' or 'unreachable', others + 1
end

-- A member as JSON: the record is an object without what the sessions say.
local function member_json(m)
  local shown, count = presence_of(m.sessions)
  return string.sub(m.record, 1, -2) .. ',"presence":"' .. shown .. '","sessions":' .. int(count) .. ',"joined_at":'
    .. m.joined .. ',"record_version":' .. m.version .. '}'
end

local function store_member(c, room, pid, m)
  call('HSET', c.P .. ':M:' .. room.key, pid,
    int(m.last) .. ' ' .. m.joined .. ' ' .. m.version .. ' ' .. m.sessions .. '\n' .. m.record)
end

local function put_member(c, room, pid, m, kind)
  touch(c, room)
  store_member(c, room, pid, m)
  call('ZADD', c.P .. ':V:' .. room.key, int(room.ver), pid)
  if room.detailed then
    room[kind][#room[kind] + 1] = member_json(m)
  end
end

local function last_key(room, pid)
  return room.key .. '\0' .. pid
end

-- Forgets removals beyond the latest, and those of long ago.
local function trim_removals(c, room)
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

-- Members leave under numbers: {pid, number}, …, at most some hundred. The last one out starts the room's end.
local function remove_members(c, room, gone, reason)
  touch(c, room)
  room.counts = true
  local pids, removals, numbers, version = {}, {}, {}, int(room.ver)
  for i, each in ipairs(gone) do
    local pid, at = each[1], each[2]
    pids[i] = pid
    removals[2 * i - 1], removals[2 * i] = version, pid
    numbers[2 * i - 1], numbers[2 * i] = int(at), last_key(room, pid)
    if room.detailed then
      room.left[#room.left + 1] = '["' .. pid .. '",' .. quote(reason) .. ']'
    end
    emit_room(c, room, 'left', pid, at, reason)
  end
  call('HDEL', c.P .. ':M:' .. room.key, unpack(pids))
  call('ZREM', c.P .. ':I:' .. room.key, unpack(pids))
  call('ZREM', c.P .. ':V:' .. room.key, unpack(pids))
  call('ZADD', c.P .. ':G:' .. room.key, unpack(removals))
  call('ZADD', c.P .. ':rl', unpack(numbers))
  trim_removals(c, room)
  room.n = max(0, room.n - #gone)
  if room.n == 0 then
    if room.ttl == 0 or room.ending then
      end_room(c, room)
    else
      call('ZADD', c.P .. ':rd', int(clock_now(c) + room.ttl), 'r' .. room.key)
    end
  end
end

-- -- counter-marks (R2 5, R8, R11) ------------------------------------------------------------------------------------

local function counter_mark(c, room, hashed)
  local stored = call('HGET', c.P .. ':rc:' .. room.key, hashed)
  return stored and cjson.decode(stored) or nil
end

local function put_counter_mark(c, room, hashed, mark)
  call('HSET', c.P .. ':rc:' .. room.key, hashed, json('n', mark.n, 'why', mark.why, 'until', mark['until'], 'p', mark.p))
  local due = clock_now(c) + MARK_AGE_MS
  if not mark.p then
    due = clock_now(c) + max(0, mark['until'] - c.ms)
  end
  call('ZADD', c.P .. ':rd', int(due), 'k' .. last_key(room, hashed))
end

local function drop_counter_mark(c, room, hashed)
  call('HDEL', c.P .. ':rc:' .. room.key, hashed)
  call('ZREM', c.P .. ':rd', 'k' .. last_key(room, hashed))
end

local function is_kept_out(c, mark)
  return mark['until'] ~= nil and mark['until'] > c.ms
end

-- The row has dropped the room, or never had it.
local function row_is_out(c, room, hashed, mark)
  if is_kept_out(c, mark) then
    mark.p = nil
    put_counter_mark(c, room, hashed, mark)
  else
    drop_counter_mark(c, room, hashed)
  end
end

-- Whether the row wants what the room refuses: the reason, and until when.
local function refusal(c, room, stored, mark, t)
  if mark and (mark.p or is_kept_out(c, mark)) then
    return mark.why, mark['until']
  elseif room.open and room.ending then
    return 'ended'
  elseif stored then
    return nil
  elseif not room.open and t.other_rooms + rooms_of(c, t.app) >= t.max_rooms then
    return 'room_limit'
  end
  local most = t.max_members
  if room.detailed and room.open then
    most = math.min(most, t.detailed_members)
  end
  return room.n >= most and 'room_full' or nil
end

-- -- step three -------------------------------------------------------------------------------------------------------

-- What became of a part: {'taken'}, {'refused', reason, until}, {'behind', last number}, {'old'}.
local function take(c, t)
  local room, pid = rooms.load(c, t.app, t.room), t.pid
  local packed = call('HGET', c.P .. ':M:' .. room.key, pid)
  local stored = packed and unpack_member(packed)
  local last = stored and stored.last or tonumber(call('ZSCORE', c.P .. ':rl', last_key(room, pid)) or '0')
  local hashed = redis.sha1hex(pid)
  local mark = counter_mark(c, room, hashed)
  if t.number <= last then
    if mark and mark.n == t.number and mark.p and #t.sessions > 0 then
      return {'refused', mark.why, mark['until'] and int(mark['until'])}
    end
    return {'behind', int(last)}
  elseif last == 0 and t.number < c.us - OLDEST_NUMBER_MS * 1000 then
    return {'old'}
  end
  if #t.sessions == 0 then
    if mark then
      row_is_out(c, room, hashed, mark)
    end
    if stored then
      remove_members(c, room, {{pid, t.number}}, t.reason)
    else
      call('ZADD', c.P .. ':rl', int(t.number), last_key(room, pid))
    end
    return {'taken'}
  end
  local why, ends = refusal(c, room, stored, mark, t)
  if why then
    if stored then
      remove_members(c, room, {{pid, t.number}}, why)
    else
      call('ZADD', c.P .. ':rl', int(t.number), last_key(room, pid))
    end
    put_counter_mark(c, room, hashed, {n = t.number, why = why, ['until'] = ends, p = pid})
    return {'refused', why, ends and int(ends)}
  end
  if mark then
    drop_counter_mark(c, room, hashed)
  end
  local sessions = table.concat(t.sessions, ',')
  local m = {last = t.number, joined = stored and stored.joined or c.now, version = int(t.version), sessions = sessions,
    record = ''}
  if not stored and not room.open then
    open_room(c, room, {id = t.id, by = pid})
    room.fresh = true
  end
  set_shown(c, room, t.shown)
  m.record = with_attributes(room, t.record, t.attributes)
  if not stored then
    if room.n == 0 and not room.fresh then
      call('ZREM', c.P .. ':rd', 'r' .. room.key)
    end
    room.n = room.n + 1
    room.counts = true
    put_member(c, room, pid, m, 'joined')
    call('ZADD', c.P .. ':I:' .. room.key, 0, pid)
    if last > 0 then
      call('ZREM', c.P .. ':rl', last_key(room, pid))
      call('ZREM', c.P .. ':G:' .. room.key, pid)
    end
    emit_room(c, room, 'joined', pid, t.number)
  else
    local shown, count = presence_of(sessions)
    local shown_before, count_before = presence_of(stored.sessions)
    if stored.record ~= m.record or shown ~= shown_before or count ~= count_before then
      put_member(c, room, pid, m, 'changed')
    else
      m.version = stored.version
      store_member(c, room, pid, m)
    end
  end
  return {'taken'}
end

-- -- kick and end -----------------------------------------------------------------------------------------------------

local function note_kick(c, subject, ends)
  call('ZADD', c.P .. ':rko', int(ends), subject)
  call('HINCRBY', c.P, 'kicks', 1)
end

-- Who is kept out, {subject, until, …}, where that is not what the node has: the number of the last kick comes first.
local function kicks(c, known)
  local last = number(call('HGET', c.P, 'kicks'))
  if last == known then
    return {}
  end
  call('ZREMRANGEBYSCORE', c.P .. ':rko', '-inf', int(c.ms))
  return {last, call('ZREVRANGEBYSCORE', c.P .. ':rko', '+inf', '-inf', 'WITHSCORES', 'LIMIT', 0, KICKS_OF_CALL)}
end

-- Restore (R8): what is missing of who is kept out. Runs without a marker, as for blocks.
define_unmarked('put_kicks', function(c, r)
  local written = 0
  for _, item in ipairs(r.items) do
    local subject, ends = unpack(item)
    local key, hashed = string.match(subject, '^([^%z]*)%z(.*)$')
    local room = load_by_key(c, key)
    if ends > c.ms and not counter_mark(c, room, hashed) then
      put_counter_mark(c, room, hashed, {n = c.us, why = 'kicked', ['until'] = ends})
      note_kick(c, subject, ends)
      written = written + 1
    end
  end
  return {'ok', written}
end)

define_room('room_kick', function(c, r)
  local room, pid = rooms.load(c, r.app, r.room), r.pid
  if r.by ~= '' and not r.may_kick and not (room.open and room.by == r.by) then
    return refuse('room_permission')
  end
  local packed = call('HGET', c.P .. ':M:' .. room.key, pid)
  local last = packed and unpack_member(packed).last
    or tonumber(call('ZSCORE', c.P .. ':rl', last_key(room, pid)) or '0')
  local at, hashed = max(last + 1, c.us), redis.sha1hex(pid)
  if packed then
    remove_members(c, room, {{pid, at}}, 'kicked')
  else
    call('ZADD', c.P .. ':rl', int(at), last_key(room, pid))
  end
  local before = counter_mark(c, room, hashed)
  local ends = max(before and before['until'] or 0, c.ms + r.ms)
  put_counter_mark(c, room, hashed, {n = at, why = 'kicked', ['until'] = ends, p = pid})
  if r.ms > 0 then
    note_kick(c, last_key(room, hashed), ends)
  end
  return {'ok', int(at), (packed or r.ms > 0) and 1 or 0}
end)

-- Members of a room that is being ended leave, so many in one call; with the last one it ends. Their rows are to drop it.
local function empty(c, room, drops)
  local pids = call('ZRANGE', c.P .. ':I:' .. room.key, 0, ENDED_OF_CALL - 1)
  if #pids > 0 then
    local gone, marks, due = {}, {}, {}
    local packed, at = call('HMGET', c.P .. ':M:' .. room.key, unpack(pids)), int(clock_now(c) + MARK_AGE_MS)
    for i, pid in ipairs(pids) do
      local last, hashed = max(unpack_member(packed[i]).last + 1, c.us), redis.sha1hex(pid)
      gone[i] = {pid, last}
      marks[2 * i - 1], marks[2 * i] = hashed, json('n', last, 'why', 'ended', 'p', pid)
      due[2 * i - 1], due[2 * i] = at, 'k' .. last_key(room, hashed)
      drops[#drops + 1] = {room.app, pid, room.name, int(last), 'ended'}
    end
    call('HSET', c.P .. ':rc:' .. room.key, unpack(marks))
    call('ZADD', c.P .. ':rd', unpack(due))
    remove_members(c, room, gone, 'ended')
  elseif room.open then
    end_room(c, room)
  end
  if room.open then
    call('ZADD', c.P .. ':rd', int(clock_now(c)), 'e' .. room.key)
  end
end

define_room('room_end', function(c, r)
  local room, drops = rooms.load(c, r.app, r.room), {}
  if not room.open then
    mark_repeated(c)
    return {'ok', 0, drops}
  end
  local changed = room.ending and 0 or 1
  room.ending = '1'
  call('HSET', c.P .. ':R:' .. room.key, 'ending', '1')
  empty(c, room, drops)
  return {'ok', changed, drops}
end)

-- -- rosters (R5) -----------------------------------------------------------------------------------------------------

-- Version, count, whether detailed, the room's record (empty where it is not open).
local function head(room)
  local record = {}
  if room.open then
    record = {room.id, int(room.ttl), room.opened, room.by, room.ending and 1 or 0}
  end
  return int(room.ver), room.n, room.detailed and 1 or 0, record
end

local function members_of(c, room, pids, out)
  if #pids == 0 then
    return #pids
  end
  local size = 0
  for i, packed in ipairs(call('HMGET', c.P .. ':M:' .. room.key, unpack(pids))) do
    if packed then
      local text = member_json(unpack_member(packed))
      size = size + #text
      if size > ROSTER_BYTES and #out > 0 then
        return i - 1
      end
      out[#out + 1] = text
    end
  end
  return #pids
end

-- A page of the roster, by id: version, count, detailed, record, members, cursor ('-': the first page). The members of a
-- counted room are for those alone who ask for them.
local function page(c, room, limit, cursor)
  if not room.detailed and limit == 0 and not cursor then
    local version, count, detailed, record = head(room)
    return {version, count, detailed, record, {}, room.known and '-' or ''}
  end
  local most = math.min(limit > 0 and limit or PAGE_OF_ROSTER, PAGE_OF_ROSTER)
  local pids = call('ZRANGEBYLEX', c.P .. ':I:' .. room.key, cursor and cursor ~= '-' and ('(' .. cursor) or '-', '+',
    'LIMIT', 0, most + 1)
  local more = #pids > most
  if more then
    pids[#pids] = nil
  end
  local out = {}
  local used = members_of(c, room, pids, out)
  local version, count, detailed, record = head(room)
  return {version, count, detailed, record, out, (more or used < #pids) and pids[used] or ''}
end

-- What differs from `since`, or nil where that is not known any more, or is more than a page.
local function differences(c, room, since, limit)
  if since > room.ver or since < room.gone then
    return nil
  end
  local version, count, detailed, record = head(room)
  if not room.detailed then
    return {version, count, detailed, record, {}, '', {}}
  end
  local left = call('ZRANGEBYSCORE', c.P .. ':G:' .. room.key, '(' .. int(since), '+inf', 'WITHSCORES')
  if left[1] and tonumber(left[2]) < c.us - MEMORY_US then
    return nil
  end
  local pids = call('ZRANGEBYSCORE', c.P .. ':V:' .. room.key, '(' .. int(since), '+inf', 'LIMIT', 0, PAGE_OF_ROSTER + 1)
  local out, gone = {}, {}
  if #pids > (limit > 0 and limit or PAGE_OF_ROSTER) or members_of(c, room, pids, out) < #pids then
    return nil
  end
  for i = 1, #left, 2 do
    gone[#gone + 1] = left[i]
  end
  return {version, count, detailed, record, out, '', gone}
end

-- The parts of up to MARKS_OF_CALL participants; for the last of them also the roster, where `roster` says how many members.
define_room('room_take', function(c, r)
  local out = {}
  for i, t in ipairs(r.items) do
    out[i] = take(c, t)
  end
  if #c.touched == 0 then
    mark_repeated(c)
  end
  local last = r.items[#r.items]
  return {'ok', out, r.roster and page(c, rooms.load(c, last.app, last.room), r.roster) or {}, c.counted or {}}
end)

define_room('room_create', function(c, r)
  local room = rooms.load(c, r.app, r.room)
  if room.open then
    if room.ending then
      return refuse('room_ending')
    end
    mark_repeated(c)
  else
    if r.other_rooms + rooms_of(c, r.app) >= r.max_rooms then
      return refuse('rooms_limit')
    end
    open_room(c, room, r)
    set_shown(c, room, r.shown)
    call('ZADD', c.P .. ':rd', int(clock_now(c) + max(r.ttl, EMPTY_TTL_MS)), 'r' .. room.key)
  end
  return {'ok', page(c, room, 0), c.counted or {}}
end)

define('room_roster', function(c, r)
  local room = rooms.load(c, r.app, r.room)
  return {'ok', r.since and differences(c, room, r.since, r.limit) or page(c, room, r.limit, r.cursor)}
end)

-- -- messages (R6) ----------------------------------------------------------------------------------------------------

-- Whether so many bytes may be sent now: a second's worth at once, then as the rate lets them. Else when, in ms.
local function spend(c, key, bytes, rate)
  local before = max(tonumber(call('GET', key) or '0'), c.us)
  local after = before + bytes / rate * 1000000
  local wait = after - c.us - 1000000
  if wait > 0 and before > c.us then
    return math.ceil(wait / 1000)
  end
  return nil, after
end

define_room('room_send', function(c, r)
  local room = rooms.load(c, r.app, r.room)
  if r.sender ~= '' then
    local packed = room.open and call('HGET', c.P .. ':M:' .. room.key, r.sender)
    local sessions = packed and unpack_member(packed).sessions
    if not sessions or not (find(sessions, '+' .. r.sid, 1, true) or find(sessions, '-' .. r.sid, 1, true)) then
      return refuse('not_a_member')
    end
  elseif not room.open then
    return refuse('no_room')
  end
  local sent = c.P .. ':rs:' .. last_key(room, r.sender) .. '\0' .. r.mid
  local first = call('GET', sent)
  if first then
    local at, was = string.match(first, '^(%d+) (%d+)$')
    if c.ms - tonumber(at) < MESSAGE_MEMORY_MS then
      return {'ok', was}
    end
  end
  local size, budgets = #r.message, {}
  if r.sender ~= '' then
    for key, rate in pairs({[c.P .. ':rb:' .. room.key] = r.room_rate, [c.P .. ':rb:' .. last_key(room, r.sender)] = r.rate}) do
      local wait, spent = spend(c, key, size, rate)
      if wait then
        return refuse('rate_limited', 'retry_after', wait)
      end
      budgets[key] = int(spent)
    end
  end
  for key, spent in pairs(budgets) do
    call('SETEX', key, 60, spent)
  end
  local at = int(max(number(room.msg) + 1, c.us))
  call('HSET', c.P .. ':R:' .. room.key, 'msg', at)
  call('SETEX', sent, 60, c.now .. ' ' .. at)
  call('SPUBLISH', c.P .. ':r:' .. room.key, 'm{"number":' .. at .. ',"sender":' .. quote(r.shown) .. ',"session_id":'
    .. quote(r.sid) .. ',"to":' .. r.to .. ',"message":' .. r.message .. '}')
  return {'ok', at}
end)

-- -- lists ------------------------------------------------------------------------------------------------------------

local function record_of(room)
  local version, count, detailed, record = head(room)
  return {room.name, version, count, detailed, record}
end

-- Those of these that are open.
define('rooms_named', function(c, r)
  local out = {}
  for _, name in ipairs(r.names) do
    local room = rooms.load(c, r.app, name)
    out[#out + 1] = room.open and record_of(room) or nil
  end
  return {'ok', out}
end)

define('room_of_id', function(c, r)
  local name = call('HGET', c.P .. ':rid', owner_key(r.app, r.id))
  return {'ok', name and {record_of(rooms.load(c, r.app, name))} or {}}
end)

-- Rooms of an application after a cursor, by name, at most `limit` looked at: those that a search may find (as `may_find`
-- has it for participants), and the last one looked at, nil at the end.
define('room_names', function(c, r)
  local prefix, out, last = r.app .. '\0', {}, nil
  local from = r.cursor and ('(' .. prefix .. r.cursor) or ('[' .. prefix)
  local found = call('ZRANGEBYLEX', c.P .. ':rooms', from, '(' .. r.app .. '\1', 'LIMIT', 0, r.limit)
  for _, member in ipairs(found) do
    last = string.sub(member, #prefix + 1)
    if not r.search or find(string.lower(last), r.search, 1, true) or find(last, '[\128-\255]') then
      out[#out + 1] = last
    end
  end
  return {'ok', out, #found == r.limit and last or nil}
end)

-- Rooms in which a participant is, or was a moment ago: in the participant's partition.
define('rooms_of_participant', function(c, r)
  return {'ok', rooms.names(call('HGET', participant_key(c, owner_key(r.app, r.pid)), 'rooms'))}
end)

-- Versions of rooms, for those that watch them (S13): 0 where one is not known.
define('room_versions', function(c, r)
  local out = {}
  for i, key in ipairs(r.keys) do
    out[i] = number(call('HGET', c.P .. ':R:' .. key, 'ver'))
  end
  return {'ok', out}
end)

-- -- what is due ------------------------------------------------------------------------------------------------------

local room_due = {}

-- r: the room has had nobody for its ttl.
function room_due.r(c, out, key)
  local room = load_by_key(c, key)
  if room.open and room.n == 0 then
    end_room(c, room)
    out.ended = out.ended + 1
  end
end

-- f: 10 min after the end.
function room_due.f(c, _, key)
  local room = load_by_key(c, key)
  if room.known and not room.open and not room.since then
    call('UNLINK', c.P .. ':R:' .. key, c.P .. ':G:' .. key)
  end
end

-- k: a counter-mark: the row may have the room still, or the time of a kick is over.
function room_due.k(c, out, subject)
  local key, hashed = string.match(subject, '^([^%z]*)%z(.*)$')
  local room = load_by_key(c, key)
  local mark = counter_mark(c, room, hashed)
  if mark and mark.p then
    out.drops[#out.drops + 1] = {room.app, mark.p, room.name, int(mark.n), mark.why}
    call('ZADD', c.P .. ':rd', int(clock_now(c) + MARK_CLAIM_MS), 'k' .. subject)
  elseif mark and not is_kept_out(c, mark) then
    drop_counter_mark(c, room, hashed)
  elseif mark then
    put_counter_mark(c, room, hashed, mark)
  end
end

-- i: the time of an invitation is over (58_invitations).
function room_due.i(c, _, entry)
  rooms.forget_invitation(c, entry)
end

-- e: members leave a room that is being ended.
function room_due.e(c, out, key)
  local room = load_by_key(c, key)
  if room.open and room.ending and #out.drops >= ENDED_OF_CALL then
    call('ZADD', c.P .. ':rd', int(clock_now(c)), 'e' .. key)
  elseif room.open and room.ending then
    empty(c, room, out.drops)
    out.ended = out.ended + (room.open and 0 or 1)
  end
  out.more = out.more or room.open
end

-- Marks, rooms and counter-marks that are due: what was read, since when (ms), drops {app, participant, room, upto,
-- reason}, rooms that ended, rooms of each application, whether there is more, what is to be compared (59_room_repair),
-- and who is kept out, as `kicks` has it.
define_room('room_due', function(c, r)
  local out = {ended = 0, drops = {}}
  local items = call('ZRANGEBYSCORE', c.P .. ':rd', '-inf', int(clock_now(c)), 'LIMIT', 0, r.limit)
  for _, item in ipairs(items) do
    call('ZREM', c.P .. ':rd', item)
    room_due[string.sub(item, 1, 1)](c, out, string.sub(item, 2))
  end
  -- where hundreds have left a room already, the rest is for the next call: none may hold Redis for long
  local readings, lag = {}, 0
  if not out.more then
    readings, lag = rooms.read_due(c, r.limit)
  end
  local old = call('ZRANGEBYSCORE', c.P .. ':rl', '-inf', int(c.us - MEMORY_US), 'LIMIT', 0, r.limit)
  if #old > 0 then
    call('ZREM', c.P .. ':rl', unpack(old))
  end
  local more = out.more or #items == r.limit or #readings == r.limit
  return {'ok', readings, lag, out.drops, out.ended, call('HGETALL', c.P .. ':rn:apps'), more and 1 or 0,
    more and {} or rooms.compare(c),
    kicks(c, r.kicks)}
end)

rooms.parse_member = unpack_member

define('room_counts', function(c, r)
  return {'ok', call('HGETALL', c.P .. ':rn:apps')}
end)

end
