-- Rosters as they are read (R5): by page, or what differs from a version. A room is created here too: its roster is the
-- answer.

do -- a block of its own: one Lua function has at most 200 local names

local MEMORY_US = REMOVAL_MEMORY_MS * 1000

-- Version, count, whether detailed, the room's record (empty where it is not open).
function rooms.head(room)
  local record = {}
  if room.open then
    record = {room.id, int(room.ttl), room.opened, room.by, room.ending and 1 or 0}
  end
  return room.version or int(room.ver), room.n, room.detailed and 1 or 0, record
end

local function members_of(c, room, pids, out)
  if #pids == 0 then
    return #pids
  end
  local size = 0
  for i, packed in ipairs(call('HMGET', c.P .. ':M:' .. room.key, unpack(pids))) do
    if packed then
      local text = rooms.member_json(rooms.unpack_member(packed))
      size = size + #text
      if size > ROSTER_BYTES and #out > 0 then
        return i - 1
      end
      out[#out + 1] = text
    end
  end
  return #pids
end

-- A page of the roster, by id: version, count, detailed, record, members, cursor ('-': the first page). The members of
-- a counted room are for those alone who ask for them.
function rooms.page(c, room, limit, cursor)
  local version, count, detailed, record = rooms.head(room)
  if not room.detailed and limit == 0 and not cursor then
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
  return {version, count, detailed, record, out, (more or used < #pids) and pids[used] or ''}
end

-- What differs from `since`, or nil where that is no longer known, or is more than a page.
local function differences(c, room, since, limit)
  if since > room.ver or since < room.gone then
    return nil
  end
  local version, count, detailed, record = rooms.head(room)
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

define('room_roster', function(c, r)
  local room = rooms.load(c, r.app, r.room)
  return {'ok', r.since and differences(c, room, r.since, r.limit) or rooms.page(c, room, r.limit, r.cursor)}
end)

rooms.define('room_create', function(c, r)
  local room = rooms.load(c, r.app, r.room)
  if room.open then
    if room.ending then
      return refuse('room_ending')
    end
    mark_repeated(c)
  else
    if r.other_rooms + rooms.count_of(c, r.app) >= r.max_rooms then
      return refuse('rooms_limit')
    end
    rooms.open(c, room, r)
    rooms.show(room, r.shown)
    call('ZADD', c.P .. ':rd', int(clock_now(c) + max(r.ttl, EMPTY_TTL_MS)), 'r' .. room.key)
  end
  return {'ok', rooms.page(c, room, 0), c.counted or {}}
end)

-- Versions of rooms, for those that watch them (S13): 0 where one is not known.
define('room_versions', function(c, r)
  local out = {}
  for i, key in ipairs(r.keys) do
    out[i] = number(call('HGET', c.P .. ':R:' .. key, 'ver'))
  end
  return {'ok', out}
end)

end
