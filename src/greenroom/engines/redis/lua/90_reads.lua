-- What is only read. From the master, like everything.

do -- a block of its own: one Lua function has at most 200 local names

define('participants', function(c, r)
  local out = {}
  for i, pid in ipairs(c.arg.ids) do
    out[i] = call('HGETALL', participant_key(c, owner_key(c.arg.app, pid)))
  end
  return {'ok', out}
end)

local function after(prefix, cursor, limit, key)
  local from = cursor and ('(' .. prefix .. cursor) or ('[' .. prefix)
  return call('ZRANGEBYLEX', key, from, '(' .. string.sub(prefix, 1, -2) .. '\1', 'LIMIT', 0, limit)
end

-- Whether a search may find a participant. Lua knows upper and lower case of ASCII alone; other letters may match.
local function may_find(search, pid, name, xid)
  local text = name .. '\n' .. xid
  return string.find(string.lower(text), search, 1, true) or string.find(pid, search, 1, true)
    or string.find(text, '[\128-\255]')
end

local function ids_of_presence(c, members, prefix, wanted)
  local out, pid = {}, nil
  for _, member in ipairs(members) do
    pid = string.sub(member, #prefix + 1)
    local p = wanted and call('HMGET', participant_key(c, owner_key(c.arg.app, pid)), 'n', 'on')
    if not wanted or wanted[presence({n = number(p[1]), on = number(p[2])})] then
      out[#out + 1] = pid
    end
  end
  return out, pid
end

local function ids_with_names(c, members, prefix, search)
  local out, pid = {}, nil
  for _, member in ipairs(members) do
    pid = string.sub(member, #prefix + 1)
    local p = call('HMGET', participant_key(c, owner_key(c.arg.app, pid)), 'name', 'xid')
    local name, xid = p[1] or '', p[2] or ''
    if may_find(search, pid, name, xid) then
      out[#out + 1], out[#out + 2], out[#out + 3] = pid, name, xid
    end
  end
  return out, pid
end

-- Ids of an application's participants after a cursor, in order, of all or of those whose `presence` is among these; or
-- of those whom `search` may find, each with name and external id. The last one looked at, nil at the end.
define('participant_ids', function(c, r)
  local prefix, wanted = r.app .. '\0', r.presence and {}
  for _, name in ipairs(r.presence or {}) do
    wanted[name] = true
  end
  local members = after(prefix, r.cursor, r.limit, c.P .. ':pl')
  local out, last
  if r.search then
    out, last = ids_with_names(c, members, prefix, r.search)
  else
    out, last = ids_of_presence(c, members, prefix, wanted)
  end
  return {'ok', out, #members == r.limit and last or nil}
end)

-- Time, participants with sessions, sessions of a page that are attached and detached, participants all of whose
-- sessions are detached (each of n sessions counts 1/n of its participant), and where it was left, nil at the end.
define('count', function(c, r)
  local prefix, attached, detached, away, sid = r.app .. '\0', 0, 0, 0, nil
  local members = after(prefix, r.cursor, r.limit, c.P .. ':live')
  for _, member in ipairs(members) do
    sid = string.sub(member, #prefix + 1)
    local s = session_fields(c, sid, {'state', 'pid'})
    if s[1] == 'attached' then
      attached = attached + 1
    elseif s[1] == 'detached' then
      detached = detached + 1
      local p = call('HMGET', participant_key(c, owner_key(r.app, s[2])), 'n', 'on')
      if number(p[2]) == 0 then
        away = away + 1 / math.max(1, number(p[1]))
      end
    end
  end
  local known = call('ZLEXCOUNT', c.P .. ':pl', '[' .. prefix, '(' .. r.app .. '\1')
  local here = known - call('ZCARD', c.P .. ':off:' .. r.app)
  return {'ok', c.now, here, attached, detached, string.format('%.9f', away), #members == r.limit and sid or nil}
end)

-- The history of an application's headcounts: in its home partition.
define('keep_headcount', function(c, r)
  local key = c.P .. ':history:' .. r.app
  call('RPUSH', key, r.headcount)
  call('LTRIM', key, -r.most, -1)
  call('EXPIRE', key, r.seconds)
  return {'ok'}
end)

define('headcounts', function(c, r)
  return {'ok', call('LRANGE', c.P .. ':history:' .. r.app, 0, -1)}
end)

local BRIEF = {'id', 'app', 'pid', 'gen', 'state', 'node', 'lease', 'rooms'}

-- As HGETALL gives it, with the few fields of a brief list.
local function brief(c, sid)
  local flat, values = {}, session_fields(c, sid, BRIEF)
  for i, name in ipairs(BRIEF) do
    if values[i] then
      flat[#flat + 1] = name
      flat[#flat + 1] = values[i]
    end
  end
  return as_table(flat), flat
end

local function add_sessions(c, ids, matches, place)
  local out = {}
  for _, sid in ipairs(ids) do
    local s, flat = (c.arg.brief and not c.arg.with_timeline and brief or load_session)(c, sid)
    if s and s.id and matches(s) then
      out[#out + 1] = flat
      out[#out + 1] = c.arg.with_timeline and timeline(c, s) or {}
    end
  end
  return {'ok', out, place}
end

-- One page of members app \0 session id after the cursor, read on until `limit` match, `most` were looked at, or there
-- are no more. Where it was left, nil at the end.
local function scan(c, r, matches)
  local prefix, ids, looked = r.app and r.app .. '\0', {}, 0
  local from = r.cursor and ('(' .. r.cursor) or (prefix and '[' .. prefix or '-')
  local to = prefix and ('(' .. string.sub(prefix, 1, -2) .. '\1') or '+'
  while true do
    local count = math.min(200, r.most - looked)
    local members = call('ZRANGEBYLEX', c.P .. ':live', from, to, 'LIMIT', 0, count)
    for _, member in ipairs(members) do
      from = '(' .. member
      local sid = string.match(member, '%z(.*)$')
      if matches(sid) then
        ids[#ids + 1] = sid
        if #ids == r.limit then
          return ids, member
        end
      end
    end
    looked = looked + #members
    if #members < count then
      return ids, nil
    elseif looked == r.most then
      return ids, string.sub(from, 2)
    end
  end
end

define('sessions', function(c, r)
  local function fits(s)
    return (not r.app or s.app == r.app) and (not r.node or s.node == r.node)
      and (not r.participant_id or s.pid == r.participant_id)
  end
  if r.session_id then
    return add_sessions(c, {r.session_id}, fits)
  end
  if r.participant_id and r.app then
    local ids = {}
    for sid in pairs(sessions_of(c, owner_key(r.app, r.participant_id))) do
      if not r.cursor or r.app .. '\0' .. sid > r.cursor then
        ids[#ids + 1] = sid
      end
    end
    table.sort(ids)
    return add_sessions(c, ids, fits)
  end
  local ids, place = scan(c, r, function(sid)
    return not r.node or session_fields(c, sid, {'node'})[1] == r.node
  end)
  return add_sessions(c, ids, fits, place)
end)

-- One page of sessions that have ended, the latest first: of a participant, or of those that are due to be forgotten
-- (members f .. id, beside what is due otherwise). Read on as in `scan`; the place is score and member.
define('ended_sessions', function(c, r)
  local key, mark = c.P .. ':due', 'f'
  if r.participant_id then
    key, mark = ended_of(c, owner_key(r.app, r.participant_id)), ''
  end
  local high, last = unpack(r.place or {'+inf'})
  local out, found, looked, offset = {}, 0, 0, 0
  while true do
    local items = call('ZREVRANGEBYSCORE', key, r.place and int(high) or high, '-inf', 'WITHSCORES', 'LIMIT', offset, 200)
    for i = 1, #items, 2 do
      local member, score = items[i], items[i + 1]
      local passed = tonumber(score) == high and member >= last
      local sid = not passed and string.sub(member, 1, #mark) == mark and string.sub(member, #mark + 1)
      local s, flat
      if sid and session_fields(c, sid, {'app'})[1] == r.app then
        s, flat = load_session(c, sid)
      end
      if s and (not r.node or s.node == r.node) then
        out[#out + 1] = flat
        out[#out + 1] = r.with_timeline and timeline(c, s) or {}
        found = found + 1
      end
      looked = looked + (passed and 0 or 1)
      if found == r.limit or looked == r.most then
        return {'ok', out, score, member}
      end
    end
    if #items < 400 then
      return {'ok', out}
    end
    offset = offset + 200
  end
end)

end
