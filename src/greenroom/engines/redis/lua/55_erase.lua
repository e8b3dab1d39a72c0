-- What is left of an erased participant is removed in pieces. Entries of a stream cannot be changed, so the stream is
-- written again, some hundred entries in each reaper pass, under a name of its own, which then takes the stream's place.
-- From the erase on nothing that is read names the participant.
--
-- :er:<app> holds participants with the last event of before, :erj:<app> those whose pass is under way (with where it
-- is, under \0at, and the bytes that went, under \0saved), :era the applications that have either.

local PIECE = 200

-- Events are numbered from 1, ids from 1-0.
local function sequence(id)
  return number(string.match(id, '%-(%d+)$')) + 1
end

local function last_event(key)
  if call('EXISTS', key) == 0 then
    return 0
  end
  return sequence(as_table(call('XINFO', 'STREAM', key))['last-generated-id'])
end

local function begin_erasure(c, app, pid)
  local last = last_event(c.P .. ':ev:' .. app)
  if last > 0 then
    call('HSET', c.P .. ':er:' .. app, pid, int(last))
    call('SADD', c.P .. ':era', app)
  end
end

-- Participants with the last event of before, or nil where nobody's erasure is under way.
local function erased_in(c, app)
  if call('SISMEMBER', c.P .. ':era', app) == 0 then
    return nil
  end
  local erased = load_hash(c.P .. ':erj:' .. app) or {}
  for pid, last in pairs(load_hash(c.P .. ':er:' .. app) or {}) do
    erased[pid] = last
  end
  return erased
end

local function redacted(body)
  local head, data = string.match(body, '^(.-),"data":(.*)}$')
  local members = cjson.decode(data)
  for _, name in ipairs(NAMING_FIELDS) do
    members[name] = nil
  end
  local parts = {}
  for name, value in pairs(members) do
    local text = type(value) == 'number' and string.format(value % 1 == 0 and '%.0f' or '%.3f', value)
    parts[#parts + 1] = cjson.encode(name) .. ':' .. (text or cjson.encode(value))
  end
  return head .. ',"data":{' .. table.concat(parts, ',') .. '}}'
end

-- The event, without what says who it was where that was erased.
local function without_names(body, seq, erased)
  local last = erased[string.match(body, '"participantId":"([^"]*)"') or '']
  if last and seq <= number(last) then
    return redacted(body)
  end
  return body
end

local function finish_erasure(c, app, saved)
  local key, copy, old = c.P .. ':ev:' .. app, c.P .. ':evn:' .. app, c.P .. ':evo:' .. app
  if call('EXISTS', copy) == 1 then
    call('XSETID', copy, as_table(call('XINFO', 'STREAM', key))['last-generated-id'])
    call('RENAME', key, old)
    call('RENAME', copy, key)
    call('UNLINK', old)
    call('HINCRBY', c.P .. ':eb', app, int(-saved))
  end
  call('DEL', c.P .. ':erj:' .. app)
  if call('EXISTS', c.P .. ':er:' .. app) == 0 then
    call('SREM', c.P .. ':era', app)
  end
end

-- One step of one application's erasures. Whether there is more to do.
local function erase_piece(c)
  local app = call('SRANDMEMBER', c.P .. ':era')
  if not app then
    return false
  end
  local job, key, copy = c.P .. ':erj:' .. app, c.P .. ':ev:' .. app, c.P .. ':evn:' .. app
  local erased = load_hash(job)
  if not erased then
    if call('EXISTS', c.P .. ':er:' .. app) == 1 then
      call('UNLINK', copy)
      call('RENAME', c.P .. ':er:' .. app, job)
    else
      call('SREM', c.P .. ':era', app)
    end
    return true
  end
  local saved = number(erased['\0saved'])
  local entries = call('XRANGE', key, '1-' .. (erased['\0at'] or '0'), '+', 'COUNT', PIECE)
  local at = nil
  for _, entry in ipairs(entries) do
    at = sequence(entry[1])
    local body = without_names(entry[2][2], at, erased)
    saved = saved + #entry[2][2] - #body
    call('XADD', copy, entry[1], 'e', body)
  end
  if #entries == PIECE then
    call('HSET', job, '\0at', int(at), '\0saved', int(saved))
  else
    finish_erasure(c, app, saved)
  end
  return true
end
