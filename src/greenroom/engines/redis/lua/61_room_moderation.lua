-- Kicks (R8), and rooms that are ended (R11).

do -- a block of its own: one Lua function has at most 200 local names

local function note_kick(c, subject, ends)
  call('ZADD', c.P .. ':rko', int(ends), subject)
  call('HINCRBY', c.P, 'kicks', 1)
end

-- Who is kept out, {subject, until, …}, where that is not what the node has: the number of the last kick comes first.
function rooms.kicks(c, known)
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
    local room = rooms.load_by_key(c, key)
    if ends > c.ms and not rooms.counter_mark(c, room, hashed) then
      rooms.put_counter_mark(c, room, hashed, {n = c.us, why = 'kicked', ['until'] = ends})
      note_kick(c, subject, ends)
      written = written + 1
    end
  end
  return {'ok', written}
end)

rooms.define('room_kick', function(c, r)
  local room, pid = rooms.load(c, r.app, r.room), r.pid
  if r.by ~= '' and not r.may_kick and not (room.open and room.by == r.by) then
    return refuse('room_permission')
  end
  local hashed = redis.sha1hex(pid)
  local member, before = rooms.look_up(c, room, pid, hashed)
  local at = max((member and member.last or rooms.last_of(c, room, pid)) + 1, c.us)
  if member then
    rooms.remove_members(c, room, {{pid, at}}, 'kicked')
  else
    call('ZADD', c.P .. ':rl', int(at), rooms.last_key(room, pid))
  end
  local ends = max(before and before['until'] or 0, c.ms + r.ms)
  rooms.put_counter_mark(c, room, hashed, {n = at, why = 'kicked', ['until'] = ends, p = pid})
  if r.ms > 0 then
    note_kick(c, rooms.last_key(room, hashed), ends)
  end
  return {'ok', int(at), (member or r.ms > 0) and 1 or 0}
end)

-- Members of a room that is being ended leave, so many in one call; with the last one it ends. Their rows are to drop it.
function rooms.empty(c, room, drops)
  local pids = call('ZRANGE', c.P .. ':I:' .. room.key, 0, ENDED_OF_CALL - 1)
  if #pids > 0 then
    local gone, marks, due = {}, {}, {}
    local packed, at = call('HMGET', c.P .. ':M:' .. room.key, unpack(pids)), int(clock_now(c) + MARK_AGE_MS)
    for i, pid in ipairs(pids) do
      local last, hashed = max(rooms.unpack_member(packed[i]).last + 1, c.us), redis.sha1hex(pid)
      gone[i] = {pid, last}
      marks[2 * i - 1], marks[2 * i] = '!' .. hashed, json('n', last, 'why', 'ended', 'p', pid)
      due[2 * i - 1], due[2 * i] = at, 'k' .. rooms.last_key(room, hashed)
      drops[#drops + 1] = {room.app, pid, room.name, int(last), 'ended'}
    end
    call('HSET', c.P .. ':M:' .. room.key, unpack(marks))
    call('ZADD', c.P .. ':rd', unpack(due))
    rooms.remove_members(c, room, gone, 'ended')
  elseif room.open then
    rooms.end_room(c, room)
  end
  if room.open then
    call('ZADD', c.P .. ':rd', int(clock_now(c)), 'e' .. room.key)
  end
end

rooms.define('room_end', function(c, r)
  local room, drops = rooms.load(c, r.app, r.room), {}
  if not room.open then
    mark_repeated(c)
    return {'ok', 0, drops}
  end
  local changed = room.ending and 0 or 1
  room.ending = '1'
  call('HSET', room.stored, 'ending', '1')
  rooms.empty(c, room, drops)
  return {'ok', changed, drops}
end)

end
