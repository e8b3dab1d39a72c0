-- Rows and rosters are compared, a page a call (R10). :rq says how far this partition is: `phase` rows or rosters, `at`
-- where in it, `due` when it continues (partition clock): it is not there after a loss, so a comparison begins.

do -- a block of its own: one Lua function has at most 200 local names

-- Rows: {app, participant, room, sessions} of those whose mark nobody has to settle, and where to continue.
local function rows(c, from)
  local out, at = {}, nil
  local found = call('ZRANGEBYLEX', c.P .. ':rp', from and '(' .. from or '-', '+', 'LIMIT', 0, REPAIRS_OF_CALL)
  for _, who in ipairs(found) do
    at = who
    local names = {}
    for _, s in ipairs(rooms.participant(c, who).sessions) do
      for name in pairs(s.names) do
        names[name] = names[name] or {}
        table.insert(names[name], (s.connected and '+' or '-') .. s.id)
      end
    end
    local _, app, pid = rooms.split(who .. '\0')
    for name, sessions in pairs(names) do
      if call('HEXISTS', c.P .. ':rn', who .. '\0' .. name) == 0 then
        out[#out + 1] = {app, pid, name, sessions}
      end
    end
    if #out >= REPAIRS_OF_CALL then
      return out, at
    end
  end
  return out, #found == REPAIRS_OF_CALL and at or nil
end

-- Rosters: {app, participant, room, {}}. The place is <application>\0<room>\0<participant>.
local function rosters(c, from)
  local out, at = {}, nil
  local app, name, pid = string.match(from or '', '^([^%z]*)%z([^%z]*)%z(.*)$')
  local first = app and '[' .. app .. '\0' .. name or '-'
  local found = call('ZRANGEBYLEX', c.P .. ':rooms', first, '+', 'LIMIT', 0, REPAIRS_OF_CALL)
  for _, member in ipairs(found) do
    local its_app, its_name = string.match(member, '^([^%z]*)%z(.*)$')
    local after = its_app == app and its_name == name and pid or ''
    local pids = call('ZRANGEBYLEX', c.P .. ':I:' .. owner_key(its_app, its_name), '(' .. after, '+', 'LIMIT', 0,
      REPAIRS_OF_CALL - #out)
    for _, each in ipairs(pids) do
      out[#out + 1] = {its_app, each, its_name, {}}
    end
    at = member .. '\0' .. (pids[#pids] or after)
    if #out >= REPAIRS_OF_CALL then
      return out, at
    end
  end
  return out, #found == REPAIRS_OF_CALL and at or nil
end

-- The next page, if one is due: the phase and its pairs.
function rooms.compare(c)
  local key = c.P .. ':rq'
  local found = call('HMGET', key, 'phase', 'at', 'due')
  if clock_now(c) < number(found[3]) then
    return {}
  end
  local phase = some(found[1]) or 'rows'
  local out, at = (phase == 'rows' and rows or rosters)(c, some(found[2]))
  local due = clock_now(c)
  if at then
    call('HSET', key, 'phase', phase, 'at', at, 'due', int(due))
  elseif phase == 'rows' then
    call('HSET', key, 'phase', 'rosters', 'at', '', 'due', int(due))
  else
    call('HSET', key, 'phase', 'rows', 'at', '', 'due', int(due + REPAIR_PERIOD_MS))
  end
  return {phase, out}
end

-- Everything is compared again, from `ms` on.
define('room_compare_again', function(c, r)
  call('HSET', c.P .. ':rq', 'phase', 'rows', 'at', '', 'due', int(clock_now(c) + r.ms))
  return {'ok'}
end)

-- In the rooms' partition: which of the rows {app, participant, room, sessions} its rosters do not have, by number.
define('room_differs', function(c, r)
  local out = {}
  for i, pair in ipairs(r.pairs) do
    local app, pid, name, sessions = unpack(pair)
    local packed = call('HGET', c.P .. ':M:' .. owner_key(app, name), pid)
    if not packed or rooms.unpack_member(packed).sessions ~= table.concat(sessions, ',') then
      out[#out + 1] = i
    end
  end
  return {'ok', out}
end)

-- In the participants' partition: members of rosters {mark, …} whose rows do not have the room are marked, and read.
-- While sessions may still be written back (S15) nobody is.
define('room_check', function(c, r)
  if c.clock < number(call('HGET', c.P, 'restored')) + RECOVERING_MS then
    return refuse('recovering')
  end
  local out, known = {}, {}
  for _, mark in ipairs(r.marks) do
    local who, _, _, name = rooms.split(mark)
    if call('HEXISTS', c.P .. ':rn', mark) == 0 then
      known[who] = known[who] or rooms.participant(c, who)
      local wanted = false
      for _, s in ipairs(known[who].sessions) do
        wanted = wanted or s.names[name]
      end
      if not wanted then
        rooms.mark(c, who, {name}, 'lost')
        out[#out + 1] = mark
      end
    end
  end
  c.marks = nil
  mark_repeated(c)
  return {'ok', rooms.read_all(c, out)}
end)

end
