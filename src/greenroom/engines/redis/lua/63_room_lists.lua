-- Lists of rooms, and how many there are.

do -- a block of its own: one Lua function has at most 200 local names

local function record_of(room)
  local version, count, detailed, record = rooms.head(room)
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

define('room_counts', function(c)
  return {'ok', call('HGETALL', c.P .. ':rn:apps')}
end)

end
