-- Messages (R6).

do -- a block of its own: one Lua function has at most 200 local names

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

rooms.define('room_send', function(c, r)
  local room = rooms.load(c, r.app, r.room)
  if r.sender ~= '' then
    local packed = room.open and call('HGET', c.P .. ':M:' .. room.key, r.sender)
    local sessions = packed and rooms.unpack_member(packed).sessions
    if not sessions or not (find(sessions, '+' .. r.sid, 1, true) or find(sessions, '-' .. r.sid, 1, true)) then
      return refuse('not_a_member')
    end
  elseif not room.open then
    return refuse('no_room')
  end
  local sent = c.P .. ':rs:' .. rooms.last_key(room, r.sender) .. '\0' .. r.mid
  local first = call('GET', sent)
  if first then
    local at, was = string.match(first, '^(%d+) (%d+)$')
    if c.ms - tonumber(at) < MESSAGE_MEMORY_MS then
      return {'ok', was}
    end
  end
  local size, budgets = #r.message, {}
  if r.sender ~= '' then
    for key, rate in pairs({[c.P .. ':rb:' .. room.key] = r.room_rate, [c.P .. ':rb:' .. rooms.last_key(room, r.sender)] = r.rate}) do
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
  call('HSET', room.stored, 'msg', at)
  call('SETEX', sent, 60, c.now .. ' ' .. at)
  call('SPUBLISH', c.P .. ':r:' .. room.key, 'm{"number":' .. at .. ',"sender":' .. quote(r.shown) .. ',"session_id":'
    .. quote(r.sid) .. ',"to":' .. r.to .. ',"message":' .. r.message .. '}')
  return {'ok', at}
end)

end
