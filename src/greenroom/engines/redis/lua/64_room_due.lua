-- What is due in a room's partition: rooms that nobody is in, counter-marks, kicks that are over, rooms that are ended.

do -- a block of its own: one Lua function has at most 200 local names

local MEMORY_US = REMOVAL_MEMORY_MS * 1000
local room_due = {}

-- r: the room has had nobody for its ttl.
function room_due.r(c, out, key)
  local room = rooms.load_by_key(c, key)
  if room.open and room.n == 0 then
    rooms.end_room(c, room)
    out.ended = out.ended + 1
  end
end

-- f: 10 min after the end.
function room_due.f(c, _, key)
  local room = rooms.load_by_key(c, key)
  if room.known and not room.open and not room.since then
    call('UNLINK', c.P .. ':R:' .. key, c.P .. ':G:' .. key)
  end
end

-- k: a counter-mark: the row may have the room still, or the time of a kick is over.
function room_due.k(c, out, subject)
  local key, hashed = string.match(subject, '^([^%z]*)%z(.*)$')
  local room = rooms.load_by_key(c, key)
  local mark = rooms.counter_mark(c, room, hashed)
  if mark and mark.p then
    out.drops[#out.drops + 1] = {room.app, mark.p, room.name, int(mark.n), mark.why}
    call('ZADD', c.P .. ':rd', int(clock_now(c) + MARK_CLAIM_MS), 'k' .. subject)
  elseif mark and not rooms.is_kept_out(c, mark) then
    rooms.drop_counter_mark(c, room, hashed)
  elseif mark then
    rooms.put_counter_mark(c, room, hashed, mark)
  end
end

-- i: the time of an invitation is over (65_invitations).
function room_due.i(c, _, entry)
  rooms.forget_invitation(c, entry)
end

-- e: members leave a room that is being ended.
function room_due.e(c, out, key)
  local room = rooms.load_by_key(c, key)
  if room.open and room.ending and #out.drops >= ENDED_OF_CALL then
    call('ZADD', c.P .. ':rd', int(clock_now(c)), 'e' .. key)
  elseif room.open and room.ending then
    rooms.empty(c, room, out.drops)
    out.ended = out.ended + (room.open and 0 or 1)
  end
  out.more = out.more or room.open
end

-- Marks, rooms and counter-marks that are due: what was read, since when (ms), drops {app, participant, room, upto,
-- reason}, rooms that ended, rooms of each application, whether there is more, what is to be compared (66_room_repair),
-- and who is kept out, as `kicks` has it.
rooms.define('room_due', function(c, r)
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
    out.more = rooms.erase_piece(c)
  end
  local old = call('ZRANGEBYSCORE', c.P .. ':rl', '-inf', int(c.us - MEMORY_US), 'LIMIT', 0, r.limit)
  if #old > 0 then
    call('ZREM', c.P .. ':rl', unpack(old))
  end
  local more = out.more or #items == r.limit or #readings == r.limit
  return {'ok', readings, lag, out.drops, out.ended, call('HGETALL', c.P .. ':rn:apps'), more and 1 or 0,
    more and {} or rooms.compare(c),
    rooms.kicks(c, r.kicks)}
end)

end
