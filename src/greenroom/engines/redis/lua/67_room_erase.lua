-- Rooms forget who was erased, some of them in each pass: that the participant has opened them, or has left them.
--
-- :re has who is to be forgotten, <application>\0<participant> by when (ms); :rej those whose pass is under way, with where
-- it is: `at` the last open room that it looked at, then `ended` its place in :rd, where rooms are that have ended.

do -- a block of its own: one Lua function has at most 200 local names

local PIECE = 100 -- rooms that one step looks at
local AT_ONCE = 20 -- participants for whom a pass does: 100 took 35 ms where each had left each room

function rooms.begin_erasure(c, app, pid)
  if call('EXISTS', c.P .. ':rooms') == 1 or call('EXISTS', c.P .. ':rd') == 1 then
    call('ZADD', c.P .. ':re', c.now, app .. '\0' .. pid)
  end
end

-- Participants of each application, and when they were erased.
local function by_application(job)
  local out = {}
  for subject, ms in pairs(job) do
    local app, pid = string.match(subject, '^([^%z]*)%z(.*)$')
    if app then
      out[app] = out[app] or {pids = {}, at = {}}
      table.insert(out[app].pids, pid)
      out[app].at[pid] = tonumber(ms)
    end
  end
  return out
end

-- Whoever knows the roster from before reads all of it.
local function forget(c, room, erased)
  if not erased or not room.known then
    return
  end
  local key, left = c.P .. ':G:' .. room.key, {}
  for i, version in ipairs(call('ZMSCORE', key, unpack(erased.pids))) do
    if version then
      left[#left + 1] = erased.pids[i]
      room.gone = max(room.gone, tonumber(version))
    end
  end
  if #left > 0 then
    call('ZREM', key, unpack(left))
    call('HSET', room.stored, 'gone', int(room.gone))
  end
  if number(room.opened) <= (erased.at[room.by] or -1) then
    room.by = ''
    call('HSET', room.stored, 'by', '')
  end
end

-- A room that is opened again may be where the pass has been already.
function rooms.forget_erased(c, room)
  local job = load_hash(c.P .. ':rej')
  if job then
    forget(c, room, by_application(job)[room.app])
  end
end

local function begin(c)
  local flat = call('ZRANGE', c.P .. ':re', 0, AT_ONCE - 1, 'WITHSCORES')
  call('HSET', c.P .. ':rej', unpack(flat))
  return as_table(flat)
end

-- Who was erased once more meanwhile stays.
local function finish(c, job)
  for subject, ms in pairs(job) do
    if find(subject, '\0', 1, true) and call('ZSCORE', c.P .. ':re', subject) == ms then
      call('ZREM', c.P .. ':re', subject)
    end
  end
  call('DEL', c.P .. ':rej')
end

-- One step. Whether there is more to do.
function rooms.erase_piece(c)
  if call('EXISTS', c.P .. ':re') == 0 then
    return false
  end
  local key = c.P .. ':rej'
  local job = load_hash(key) or begin(c)
  local erased = by_application(job)
  if not job.ended then
    local found = call('ZRANGEBYLEX', c.P .. ':rooms', job.at and '(' .. job.at or '-', '+', 'LIMIT', 0, PIECE)
    for _, member in ipairs(found) do
      local app, name = string.match(member, '^([^%z]*)%z(.*)$')
      forget(c, rooms.load(c, app, name), erased[app])
    end
    if #found == PIECE then
      call('HSET', key, 'at', found[PIECE])
    else
      call('HSET', key, 'ended', '0')
    end
    return true
  end
  local found = call('ZSCAN', c.P .. ':rd', job.ended, 'COUNT', PIECE)
  for i = 1, #found[2], 2 do
    if string.sub(found[2][i], 1, 1) == 'f' then
      local room = rooms.load_by_key(c, string.sub(found[2][i], 2))
      forget(c, room, erased[room.app])
    end
  end
  if found[1] ~= '0' then
    call('HSET', key, 'ended', found[1])
    return true
  end
  finish(c, job)
  return call('EXISTS', c.P .. ':re') == 1
end

end
