-- Invitations to rooms (R9), in the invitee's partition: beside its sessions, so that an open finds them without looking.
-- :ib has an entry <application>\0<inviter>\0<invitee's owner_key>\0<id> for each, for the erase of an inviter.

do -- a block of its own: one Lua function has at most 200 local names

local function forget(c, entry)
  local who, id = string.match(entry, '^[^%z]*%z[^%z]*%z([^%z]*)%z(.*)$')
  call('HDEL', c.P .. ':ps:' .. who, 'i:' .. id)
  call('ZREM', c.P .. ':ib', entry)
  call('ZREM', c.P .. ':rd', 'i' .. entry)
end

local function entry_of(c, body, who)
  local stored = cjson.decode(body)
  return c.arg.app .. '\0' .. stored.inviter .. '\0' .. who .. '\0' .. stored.id
end

-- The invitation, and where the invitee's sessions are that have a connection: node, session, generation, …
define('invite', function(c, r)
  local who = owner_key(r.app, r.invitee)
  local key = c.P .. ':ps:' .. who
  local live, _, _, invited = sessions_of(c, who)
  local bodies = {}
  for _, value in pairs(invited or {}) do
    local order, body = string.match(value, '^%d+ (%d+) (.*)$')
    bodies[#bodies + 1] = {tonumber(order), body}
  end
  table.sort(bodies, function(a, b)
    local answered, other = rooms.answer_of(a[2]) ~= nil, rooms.answer_of(b[2]) ~= nil
    if answered ~= other then
      return answered
    end
    return a[1] < b[1]
  end)
  for i = 1, #bodies - INVITATIONS_OF_INVITEE + 1 do
    forget(c, entry_of(c, bodies[i][2], who))
  end
  local expires = int(c.ms + r.ttl)
  local body = string.sub(r.body, 1, -2) .. ',"created_at":' .. c.now .. ',"expires_at":' .. expires .. '}'
  local order = call('HINCRBY', c.P, 'invited', 1)
  local entry = r.app .. '\0' .. r.inviter .. '\0' .. who .. '\0' .. r.id
  call('HSET', key, 'i:' .. r.id, expires .. ' ' .. int(order) .. ' ' .. body)
  call('ZADD', c.P .. ':ib', 0, entry)
  call('ZADD', c.P .. ':rd', int(clock_now(c) + r.ttl), 'i' .. entry)
  if call('EXISTS', participant_key(c, who)) == 1 then
    call('HSET', participant_key(c, who), 'inv', '1')
  end
  local places = {}
  for sid in pairs(live) do
    local found = session_fields(c, sid, {'state', 'node', 'gen'})
    if found[1] == 'attached' then
      places[#places + 1] = found[2]
      places[#places + 1] = sid
      places[#places + 1] = found[3]
    end
  end
  return {'ok', body, places}
end)

define('answer', function(c, r)
  local s = load_session(c, r.id)
  if not owns(s, r) then
    return not_owner(c, s, r.id)
  end
  local who = owner_key(s.app, s.pid)
  local value = call('HGET', c.P .. ':ps:' .. who, 'i:' .. r.invitation)
  local expires, order, body = string.match(value or '', '^(%d+) (%d+) (.*)$')
  if not expires or tonumber(expires) <= c.ms then
    return refuse('no_invitation')
  end
  local before, answer = rooms.answer_of(body), r.accept
  if not before then
    local answered = string.sub(body, 1, -2) .. ',"accepted":' .. answer .. '}'
    call('HSET', c.P .. ':ps:' .. who, 'i:' .. r.invitation, expires .. ' ' .. order .. ' ' .. answered)
  elseif before ~= answer then
    return refuse('invitation_answered', 'accepted', before == 'true')
  end
  return {'ok', body, before and 0 or 1}
end)

-- Someone is erased: invitations by them go, at most `limit`, and rooms forget them. How many went.
define('uninvite', function(c, r)
  local prefix = r.app .. '\0' .. r.inviter .. '\0'
  local found = call('ZRANGEBYLEX', c.P .. ':ib', '[' .. prefix, '(' .. string.sub(prefix, 1, -2) .. '\1', 'LIMIT', 0, r.limit)
  for _, entry in ipairs(found) do
    forget(c, entry)
  end
  if #found < r.limit then
    rooms.begin_erasure(c, r.app, r.inviter)
  end
  return {'ok', #found}
end)

rooms.forget_invitation = forget

end
