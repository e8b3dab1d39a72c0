-- Step three of R2: the room takes participants' parts, or refuses them. Joins, changes and leaves.

do -- a block of its own: one Lua function has at most 200 local names

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

-- The row has dropped the room, or never had it.
local function row_is_out(c, room, hashed, mark)
  if rooms.is_kept_out(c, mark) then
    mark.p = nil
    rooms.put_counter_mark(c, room, hashed, mark)
  else
    rooms.drop_counter_mark(c, room, hashed)
  end
end

-- Whether the row wants what the room refuses: the reason, and until when.
local function refusal(c, room, stored, mark, t)
  if mark and (mark.p or rooms.is_kept_out(c, mark)) then
    return mark.why, mark['until']
  elseif room.open and room.ending then
    return 'ended'
  elseif stored then
    return nil
  elseif not room.open and t.other_rooms + rooms.count_of(c, t.app) >= t.max_rooms then
    return 'room_limit'
  end
  local most = t.max_members
  if room.detailed and room.open then
    most = math.min(most, t.detailed_members)
  end
  return room.n >= most and 'room_full' or nil
end

-- It is no member from here on, if it was one.
local function leaves(c, room, stored, t, reason)
  if stored then
    rooms.remove_members(c, room, {{t.pid, t.number}}, reason)
  else
    call('ZADD', c.P .. ':rl', int(t.number), rooms.last_key(room, t.pid))
  end
end

-- last: the number that it left with, 0 where that is not known.
local function joins(c, room, m, t, last)
  local pid = t.pid
  if room.n == 0 and not room.fresh then
    call('ZREM', c.P .. ':rd', 'r' .. room.key)
  end
  room.n = room.n + 1
  room.counts = true
  rooms.put_member(c, room, pid, m, 'joined')
  call('ZADD', c.P .. ':I:' .. room.key, 0, pid)
  if last > 0 then
    call('ZREM', c.P .. ':rl', rooms.last_key(room, pid))
    call('ZREM', c.P .. ':G:' .. room.key, pid)
  end
  rooms.emit(c, room, 'joined', pid, int(t.number))
end

local function changes(c, room, stored, m, pid)
  local shown, count = rooms.presence_of(m.sessions)
  local shown_before, count_before = rooms.presence_of(stored.sessions)
  if stored.record ~= m.record or shown ~= shown_before or count ~= count_before then
    rooms.put_member(c, room, pid, m, 'changed')
  else
    m.version = stored.version
    rooms.store_member(c, room, pid, m)
  end
end

-- What became of a part: {'taken'}, {'refused', reason, until}, {'behind', last number}, {'old'}.
local function take(c, t)
  local room, pid = rooms.load(c, t.app, t.room), t.pid
  local hashed = redis.sha1hex(pid)
  local stored, mark = rooms.look_up(c, room, pid, hashed)
  local last = stored and stored.last or rooms.last_of(c, room, pid)
  if t.number <= last then
    if mark and mark.n == t.number and mark.p and t.sessions ~= '' then
      return {'refused', mark.why, mark['until'] and int(mark['until'])}
    end
    return {'behind', int(last)}
  elseif last == 0 and t.number < c.us - OLDEST_NUMBER_MS * 1000 then
    return {'old'}
  end
  if t.sessions == '' then
    if mark then
      row_is_out(c, room, hashed, mark)
    end
    leaves(c, room, stored, t, t.reason)
    return {'taken'}
  end
  local why, ends = refusal(c, room, stored, mark, t)
  if why then
    leaves(c, room, stored, t, why)
    rooms.put_counter_mark(c, room, hashed, {n = t.number, why = why, ['until'] = ends, p = pid})
    return {'refused', why, ends and int(ends)}
  end
  if mark then
    rooms.drop_counter_mark(c, room, hashed)
  end
  if not stored and not room.open then
    rooms.open(c, room, {id = t.id, by = pid})
    room.fresh = true
  end
  rooms.show(room, t.shown)
  local m = {last = t.number, joined = stored and stored.joined or c.now, version = t.version, sessions = t.sessions,
    record = with_attributes(room, t.record, t.attributes)}
  if stored then
    changes(c, room, stored, m, pid)
  else
    joins(c, room, m, t, last)
  end
  return {'taken'}
end

-- The parts of up to MARKS_OF_CALL participants; for the last of them also the roster, where `roster` says how many members.
rooms.define('room_take', function(c, r)
  local out = {}
  for i, t in ipairs(r.items) do
    out[i] = take(c, t)
  end
  if #c.touched == 0 then
    mark_repeated(c)
  end
  local last = r.items[#r.items]
  return {'ok', out, r.roster and rooms.page(c, rooms.load(c, last.app, last.room), r.roster) or {}, c.counted or {}}
end)

end
