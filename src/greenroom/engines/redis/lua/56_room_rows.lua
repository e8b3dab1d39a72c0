-- Rooms in the participant's partition: steps one, two and four of R2 (what a mark is: 15_room_marks).

do -- a block of its own: one Lua function has at most 200 local names

local MEMBER = {'xid', 'name', 'avatar', 'status', 'attrs', 'ver'}
local MEMBERSHIPS = {'state', 'told', 'rooms', 'node', 'gen', 'lost'}
local OWNED = {'state', 'gen', 'lease', 'app', 'pid', 'told', 'rooms', 'lost'}
local RECORD = {'xid', 'name', 'avatar', 'status', 'attrs', 'ver', 'n', 'rooms'}

-- Of a participant what its memberships are made of: the record, and its sessions with their rooms. A session counts as
-- connected until it has been detached for 2 s.
function rooms.participant(c, who)
  local out = {profile = call('HMGET', participant_key(c, who), unpack(MEMBER)), sessions = {}}
  for i = 1, #MEMBER do
    out.profile[i] = out.profile[i] or ''
  end
  for sid in pairs(sessions_of(c, who)) do
    local found = session_fields(c, sid, MEMBERSHIPS)
    local names = {}
    for _, name in ipairs(some(found[3]) and cjson.decode(found[3]) or {}) do
      names[name] = true
    end
    out.sessions[#out.sessions + 1] = {
      id = sid, attached = found[1] == 'attached', connected = not some(found[2]), rooms = some(found[3]), names = names,
      node = found[4], gen = found[5], lost = some(found[6]),
    }
  end
  table.sort(out.sessions, function(a, b)
    return a.id < b.id
  end)
  return out
end

-- Step two: the participant's whole part in the room, under the mark. With `out` none of it is there but the reason.
function rooms.read(c, out, mark, value, known)
  local who, app, pid, name = rooms.split(mark)
  known[who] = known[who] or rooms.participant(c, who)
  local ids = {}
  for _, s in ipairs(known[who].sessions) do
    if s.names[name] then
      ids[#ids + 1] = (s.connected and '+' or '-') .. s.id
    end
  end
  local last, reason = rooms.parse(value)
  out[#out + 1] = {app, pid, name, int(last), reason, table.concat(ids, ','), known[who].profile}
end

function rooms.read_all(c, marks)
  local out, known = {}, {}
  if #marks > 0 then
    local values = call('HMGET', c.P .. ':rn', unpack(marks))
    for i, mark in ipairs(marks) do
      if values[i] then
        rooms.read(c, out, mark, values[i], known)
      end
    end
  end
  return out
end

-- A mark for the caller, who settles it: its number and reason.
function rooms.mark_own(c, who, name, reason)
  local mark = who .. '\0' .. name
  local last, why = rooms.parse(call('HGET', c.P .. ':rn', mark))
  local number = int(max(last + 1, c.us))
  why = reason or why
  call('HSET', c.P .. ':rn', mark, number .. ' ' .. why)
  call('ZADD', c.P .. ':rm', int(clock_now(c) + MARK_AGE_MS), mark)
  return number, why
end

-- For so long only the caller settles them.
function rooms.claim(c, marks)
  local due, at = {}, int(clock_now(c) + MARK_CLAIM_MS)
  for _, mark in ipairs(marks) do
    due[#due + 1] = at
    due[#due + 1] = mark
  end
  if #due > 0 then
    call('ZADD', c.P .. ':rm', unpack(due))
  end
end

local function without(list, wanted)
  local out = {}
  for _, each in ipairs(list) do
    if each ~= wanted then
      out[#out + 1] = each
    end
  end
  return out
end

-- The session's rooms from here on, a JSON list or nothing; it is no longer notified of what it lost of the room once
-- it joins again.
function rooms.store(c, sid, names, lost)
  if lost then
    call('HSET', session_key(c, sid), 'rooms', names, 'lost', #lost > 0 and cjson.encode(lost) or '')
  else
    call('HSET', session_key(c, sid), 'rooms', names)
  end
end

-- The room is in the participant's record, with the number of the join. stored: the rooms that it has.
function rooms.note_join(c, who, stored, name, joined)
  local p = {who = who, rooms = stored}
  rooms.put(c, p, name, joined)
  call('HSET', participant_key(c, who), 'rooms', p.rooms)
end

-- What step one needs of a session: nil and the refusal where it is not its owner's.
function rooms.owned(c, r)
  local found = session_fields(c, r.id, OWNED)
  if found[1] == 'attached' and found[2] == r.owner_generation and found[3] == r.owner_lease then
    return {id = r.id, app = found[4], pid = found[5], sign = some(found[6]) and '-' or '+', rooms = some(found[7]),
      lost = some(found[8])}
  end
  return nil, not_owner(c, load_session(c, r.id), r.id)
end

-- What the session lost, but for this room.
local function lost_elsewhere(s, name)
  local lost = {}
  for _, each in ipairs(cjson.decode(s.lost)) do
    lost[#lost + 1] = each[1] ~= name and each or nil
  end
  return lost
end

-- The only session of a participant is the whole of its part in a room: nothing else is read for it.
define('room_join', function(c, r)
  local s, no = rooms.owned(c, r)
  if not s then
    return no
  end
  local name, who = r.room, owner_key(s.app, s.pid)
  local names = s.rooms and cjson.decode(s.rooms) or {}
  if #without(names, name) == #names then
    if #names >= r.limit then
      return refuse('room_limit')
    end
    local added = s.rooms and string.sub(s.rooms, 1, -2) .. ',' .. quote(name) .. ']' or '[' .. quote(name) .. ']'
    rooms.store(c, s.id, added, s.lost and lost_elsewhere(s, name))
  end
  local number, why = rooms.mark_own(c, who, name)
  local p = call('HMGET', participant_key(c, who), unpack(RECORD))
  if p[7] then
    rooms.note_join(c, who, p[8], name, c.us)
  else
    local fresh = participant_of(c, load_session(c, s.id)) -- the record was lost: a new one
    finish(c, fresh, snapshot(fresh))
  end
  if p[7] ~= '1' then
    return {'ok', rooms.read_all(c, {who .. '\0' .. name})}
  end
  for i = 1, #MEMBER do
    p[i] = p[i] or ''
  end
  p[7], p[8] = nil, nil
  return {'ok', {{s.app, s.pid, name, number, why, s.sign .. s.id, p}}}
end)

-- A repeated leave settles what the first one left.
define('room_leave', function(c, r)
  local s, no = rooms.owned(c, r)
  if not s then
    return no
  end
  local name, who = r.room, owner_key(s.app, s.pid)
  local names = s.rooms and cjson.decode(s.rooms) or {}
  local others = without(names, name)
  if #others == #names then
    mark_repeated(c)
    return {'ok', rooms.read_all(c, {who .. '\0' .. name})}
  end
  rooms.store(c, s.id, #others > 0 and cjson.encode(others) or '')
  local number, why = rooms.mark_own(c, who, name, r.reason)
  if call('HGET', participant_key(c, who), 'n') ~= '1' then
    return {'ok', rooms.read_all(c, {who .. '\0' .. name})}
  end
  return {'ok', {{s.app, s.pid, name, number, why, '', {}}}}
end)

-- Whether the session is its owner's, for what is written in other partitions.
define('room_owner', function(c, r)
  local s = load_session(c, r.id)
  if not owns(s, r) then
    return not_owner(c, s, r.id)
  end
  return {'ok'}
end)

-- Reads and claims these marks, as far as they are there.
define('room_read', function(c, r)
  rooms.claim(c, r.marks)
  local out = rooms.read_all(c, r.marks)
  if #out < #r.marks then
    local values = call('HMGET', c.P .. ':rn', unpack(r.marks))
    for i, mark in ipairs(r.marks) do
      if not values[i] then
        call('ZREM', c.P .. ':rm', mark)
      end
    end
  end
  return {'ok', out}
end)

-- Step four. Items are marks, their numbers, and whether nothing was left. A mark that has another number now stays.
define('room_done', function(c, r)
  local written = false
  for _, item in ipairs(r.items) do
    local mark = item.mark
    local value = call('HGET', c.P .. ':rn', mark)
    written = written or value
    if value and rooms.parse(value) == item.number then
      call('HDEL', c.P .. ':rn', mark)
      call('ZREM', c.P .. ':rm', mark)
      local who, name
      if item.none then
        who, _, _, name = rooms.split(mark)
      end
      local stored = who and call('HGET', participant_key(c, who), 'rooms')
      if some(stored) then
        local p = {who = who, rooms = stored}
        rooms.put(c, p, name, nil)
        call('HSET', participant_key(c, who), 'rooms', p.rooms)
      end
    elseif value then
      call('ZADD', c.P .. ':rm', int(clock_now(c) + MARK_AGE_MS), mark)
    end
  end
  if not written then
    mark_repeated(c)
  end
  return {'ok'}
end)

-- A mark that was read as `seen` needs a number above this one: what the room knows is newer than this partition's
-- clock was, or the number is too old. Items are {mark, seen, above}. Reads again.
define('room_renumber', function(c, r)
  local marks = {}
  for _, item in ipairs(r.items) do
    local mark, seen, above = unpack(item)
    local last = rooms.parse(call('HGET', c.P .. ':rn', mark))
    if last == seen then
      local who, _, _, name = rooms.split(mark)
      rooms.mark(c, who, {name}, nil, false, above)
      local stored = call('HGET', participant_key(c, who), 'rooms')
      if some(stored) and cjson.decode(stored)[name] then
        rooms.note_join(c, who, stored, name, rooms.parse(call('HGET', c.P .. ':rn', mark)))
      end
    end
    if last > 0 then
      marks[#marks + 1] = mark
    end
  end
  c.marks = nil
  rooms.claim(c, marks)
  return {'ok', rooms.read_all(c, marks)}
end)

-- The row drops the room (R2 5, R8, R11). Items are {mark, upto, reason}: what was joined, or changed, under a later
-- number is read again instead. Also the memberships that this ended and whose sessions have a node: session, node,
-- generation, room, reason, …
define('room_drop', function(c, r)
  local marks, notify = {}, {}
  for _, item in ipairs(r.items) do
    local mark, upto, reason = unpack(item)
    local who, _, _, name = rooms.split(mark)
    local last = rooms.parse(call('HGET', c.P .. ':rn', mark))
    local stored = call('HGET', participant_key(c, who), 'rooms')
    local joined = some(stored) and number(cjson.decode(stored)[name]) or 0
    if last <= upto and joined <= upto then
      for _, s in ipairs(rooms.participant(c, who).sessions) do
        if s.names[name] then
          local lost = without(s.lost and cjson.decode(s.lost) or {}, nil)
          lost[#lost + 1] = {name, reason}
          local others = without(cjson.decode(s.rooms), name)
          rooms.store(c, s.id, #others > 0 and cjson.encode(others) or '',
            {unpack(lost, max(1, #lost - MAX_LOST + 1))})
          if s.attached then
            for _, value in ipairs({s.id, s.node, s.gen, name, reason}) do
              notify[#notify + 1] = value
            end
          end
        end
      end
      rooms.mark(c, who, {name}, reason, false, upto)
    elseif last == 0 then
      rooms.mark(c, who, {name}, nil, false, upto)
    end
    marks[#marks + 1] = mark
  end
  c.marks = nil
  rooms.claim(c, marks)
  return {'ok', rooms.read_all(c, marks), notify}
end)

-- Not before `ms` from now: the room's partition is away. Items are marks.
define('room_hold', function(c, r)
  for _, mark in ipairs(r.marks) do
    if call('HEXISTS', c.P .. ':rn', mark) == 1 then
      call('ZADD', c.P .. ':rm', int(clock_now(c) + r.ms), mark)
    end
  end
  return {'ok'}
end)

-- New marks for what a comparison found (R10), read at once. reason: where the row does not have the room.
define('room_mark', function(c, r)
  for _, mark in ipairs(r.marks) do
    local who, _, _, name = rooms.split(mark)
    rooms.mark(c, who, {name}, r.reason)
  end
  c.marks = nil
  rooms.claim(c, r.marks)
  return {'ok', rooms.read_all(c, r.marks)}
end)

-- Marks that are due: those read, which the caller has for `MARK_CLAIM`, and since when the oldest is due (ms).
function rooms.read_due(c, limit)
  local found = call('ZRANGEBYSCORE', c.P .. ':rm', '-inf', int(clock_now(c)), 'WITHSCORES', 'LIMIT', 0, limit)
  local marks, lag = {}, 0
  for i = 1, #found, 2 do
    marks[#marks + 1] = found[i]
    lag = max(lag, clock_now(c) - tonumber(found[i + 1]))
  end
  rooms.claim(c, marks)
  return rooms.read_all(c, marks), lag
end

end
