-- Marks (R2): of a participant in a room, made with the change of a session's row, gone once the room's partition has
-- taken the participant's part under the mark's number. In the participant's partition:
--
-- :rm holds the marks by when they may be settled by whoever looks (partition clock): a claim moves that on.
-- :rn holds their numbers and why the last membership ended: '<number> <reason>'.
--
-- A mark is <participant>\0<room>. The hash of a session in rooms has `rooms`, a JSON list of their names, and `lost`, a
-- JSON list of [room, reason] since it was attached. That of a participant with such sessions has `rooms`, a JSON object of
-- rooms with the number of the latest join (a room may be in it that was left meanwhile), and `marked`, when the reaper or
-- this node last settled a change of the record.

local rooms = {}

-- owner_key, application, participant, room.
function rooms.split(mark)
  local who, room = string.match(mark, '^([^%z]*)%z(.*)$')
  local length, rest = string.match(who, '^(%d+):(.*)$')
  return who, string.sub(rest, 1, tonumber(length)), string.sub(rest, tonumber(length) + 2), room
end

-- Number and reason of a mark; 0 where there is none.
function rooms.parse(value)
  if not value then
    return 0, ''
  end
  local place = find(value, ' ', 1, true)
  return tonumber(string.sub(value, 1, place - 1)), string.sub(value, place + 1)
end

-- Makes the marks. reason: why memberships end; nil: as the mark says. later: no node is asked to settle them at once.
-- above: a number that they must exceed.
function rooms.mark(c, who, names, reason, later, above)
  if #names == 0 then
    return
  end
  local marks = {}
  for i, name in ipairs(names) do
    marks[i] = who .. '\0' .. name
  end
  local known = call('HMGET', c.P .. ':rn', unpack(marks))
  local numbers, due, at = {}, {}, int(clock_now(c) + MARK_AGE_MS)
  for i, mark in ipairs(marks) do
    local last, why = rooms.parse(known[i])
    numbers[#numbers + 1] = mark
    numbers[#numbers + 1] = int(max(last + 1, c.us, (above or 0) + 1)) .. ' ' .. (reason or why)
    due[#due + 1] = at
    due[#due + 1] = mark
  end
  call('HSET', c.P .. ':rn', unpack(numbers))
  if later then
    call('ZADD', c.P .. ':rm', 'NX', unpack(due))
    return
  end
  call('ZADD', c.P .. ':rm', unpack(due))
  c.marks = c.marks or {}
  for _, mark in ipairs(marks) do
    c.marks[#c.marks + 1] = mark
  end
end

-- The session leaves those of these rooms in which it is, and its row is written.
function rooms.leave(c, s, names, reason)
  local leaving, left, stays = {}, {}, {}
  for _, name in ipairs(names) do
    leaving[name] = true
  end
  for _, name in ipairs(cjson.decode(s.rooms)) do
    local list = leaving[name] and left or stays
    list[#list + 1] = name
  end
  if #left > 0 then
    s.rooms = #stays > 0 and cjson.encode(stays) or ''
    call('HSET', session_key(c, s.id), 'rooms', s.rooms)
    rooms.mark(c, owner_key(s.app, s.pid), left, reason)
  end
  return #left > 0
end

-- Marks of all rooms of a session that is in some.
function rooms.mark_session(c, s, reason)
  if some(s.rooms) then
    rooms.mark(c, owner_key(s.app, s.pid), cjson.decode(s.rooms), reason)
  end
end

function rooms.names(text)
  local names = {}
  for name in pairs(some(text) and cjson.decode(text) or {}) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- The room is in the participant's `rooms` from here on, or no more (nil). The caller stores it. :rp has those with rooms.
function rooms.put(c, p, name, joined)
  if not some(p.rooms) then
    p.rooms = joined and '{' .. quote(name) .. ':"' .. int(joined) .. '"}' or ''
    if joined then
      call('ZADD', c.P .. ':rp', 0, p.who)
    end
    return
  end
  local all = cjson.decode(p.rooms)
  local before = next(all)
  all[name] = joined and int(joined)
  p.rooms = next(all) and cjson.encode(all) or ''
  if not before and joined then
    call('ZADD', c.P .. ':rp', 0, p.who)
  elseif not next(all) then
    call('ZREM', c.P .. ':rp', p.who)
  end
end

-- How an invitation was answered, 'true' or 'false', which is the last member of its JSON then; nil: not yet.
function rooms.answer_of(body)
  return string.match(body, ',"accepted":(%a+)}$')
end

-- Invitations (R9) as `sessions_of` has them, '<expires> <order> <JSON>' by their ids: those that wait, in their order.
function rooms.invitations(c, invited)
  local found, out = {}, {}
  if not invited then
    return out
  end
  for _, value in pairs(invited) do
    local expires, order, body = string.match(value, '^(%d+) (%d+) (.*)$')
    if tonumber(expires) > c.ms and not rooms.answer_of(body) then
      found[#found + 1] = {tonumber(order), body}
    end
  end
  table.sort(found, function(a, b)
    return a[1] < b[1]
  end)
  for i, each in ipairs(found) do
    out[i] = each[2]
  end
  return out
end

-- Name, avatar, status or attributes changed: at once, but not twice in a second (R4).
function rooms.mark_record(c, p)
  local names = rooms.names(p.rooms)
  if #names > 0 then
    local later = c.ms - number(p.marked) < RECORD_PERIOD_MS
    p.marked = int(later and c.ms + MARK_AGE_MS or c.ms)
    rooms.mark(c, p.who, names, nil, later)
  end
end
