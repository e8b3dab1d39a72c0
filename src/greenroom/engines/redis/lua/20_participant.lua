-- Participants: the record, what is published of it, blocks and revocations.

-- attrs: a JSON object of names and texts. sts: [session id, status], … of the sessions with a status other than
-- `available`, the latest last. status: what follows from these. Each is absent or empty where there is none.
local COUNTS = {'ver', 'shown', 'n', 'on', 'seen', 'status', 'sts', 'marked'}
local PROFILE = {'name', 'avatar', 'rev', 'ver', 'shown', 'n', 'on', 'seen', 'upd', 'wait', 'attrs', 'status', 'sts', 'marked'}
local SOME_HAVE = {'seen', 'xid', 'anon', 'attrs', 'status', 'sts', 'rooms', 'marked', 'inv'}

-- With room for all that a call notes in it: a table that grows is made anew each time it doubles.
local function blank_participant()
  return {v = nil, app = nil, id = nil, xid = nil, name = nil, avatar = nil, rev = nil, ver = nil, shown = nil, n = nil,
    on = nil, seen = nil, who = nil, fresh = nil, json = nil, quoted_name = nil, quoted_avatar = nil, quoted_xid = nil}
end

local function load_participant(c, app, pid)
  local who = owner_key(app, pid)
  local flat = call('HGETALL', participant_key(c, who))
  if #flat == 0 then
    return nil, who
  end
  local p = blank_participant()
  for i = 1, #flat, 2 do
    p[flat[i]] = flat[i + 1]
  end
  p.who = who
  p.rev, p.ver, p.n, p.on = number(p.rev), p.ver or '0', number(p.n), number(p.on)
  return p, who
end

local function new_participant(c, app, pid, xid, anonymous)
  return {
    app = app, id = pid, xid = xid, anon = anonymous and '1' or nil, who = owner_key(app, pid), fresh = true,
    name = '', avatar = '', rev = 0, ver = '0', shown = 'offline', n = 0, on = 0, seen = nil, json = nil,
    quoted_name = nil, quoted_avatar = nil, quoted_xid = nil,
  }
end

local function presence(p)
  if p.n == 0 then
    return 'offline'
  end
  return p.on > 0 and 'online' or 'unreachable'
end

-- S11: above the last one, and never below the engine's time in microseconds. As text, like the last one.
local function next_version(c, version)
  return int(max(tonumber(version) + 1, c.us))
end

-- What few have, as JSON members after others.
local function optional_json(p)
  if not p.attrs and not p.status then
    return ''
  end
  return (some(p.attrs) and (',"attributes":' .. p.attrs) or '')
    .. (some(p.status) and (',"status":' .. quote(p.status)) or '')
end

-- The texts of a person as JSON, for all that is said of them in one call.
local function quote_texts(p)
  if not p.quoted_name then
    p.quoted_name, p.quoted_avatar, p.quoted_xid = quote(p.name), quote(p.avatar), p.xid and quote(p.xid)
  end
end

local function participant_json(p)
  quote_texts(p)
  return '{"app":"' .. p.app .. '","id":"' .. p.id .. (p.xid and '","external_id":' or '"') .. (p.quoted_xid or '')
    .. ',"name":' .. p.quoted_name .. ',"avatar_url":' .. p.quoted_avatar .. ',"revision":' .. int(p.rev)
    .. ',"version":' .. p.ver .. ',"presence":"' .. presence(p) .. '","shown":"' .. p.shown .. '","sessions":' .. int(p.n)
    .. (p.seen and (',"last_seen":' .. p.seen) or '') .. optional_json(p) .. '}'
end

local function emit_participant(c, p, what)
  quote_texts(p)
  store_event(c, p.app, '{"id":"' .. p.id .. ':' .. p.ver .. ':' .. what .. '","type":"participant.' .. what .. '","at":'
    .. c.now .. ',"participantId":"' .. p.id .. '","data":{"version":' .. p.ver .. ',"revision":' .. int(p.rev)
    .. ',"sessions":' .. int(p.n) .. ',"name":' .. p.quoted_name .. ',"avatarUrl":' .. p.quoted_avatar
    .. (p.xid and ',"externalId":' or '') .. (p.quoted_xid or '') .. optional_json(p) .. '}}')
end

local function publish_change(c, p)
  local id = call('HINCRBY', c.P, 'changes', '1')
  p.json = participant_json(p)
  call('SPUBLISH', c.P .. ':c', '{"id":' .. int(id) .. ',"participant":' .. p.json .. '}')
end

local function forget_participant(c, p)
  call('DEL', participant_key(c, p.who))
  call('ZREM', c.P .. ':pl', p.app .. '\0' .. p.id)
  call('ZREM', c.P .. ':off:' .. p.app, p.id)
  call('ZREM', c.P .. ':due', 't' .. p.who, 'u' .. p.who)
  if some(p.rooms) then
    call('ZREM', c.P .. ':rp', p.who)
  end
end

local function store_new(key, p)
  local fields = {
    key, 'v', '1', 'app', p.app, 'id', p.id, 'name', p.name, 'avatar', p.avatar, 'rev', int(p.rev), 'ver', p.ver,
    'shown', p.shown, 'n', int(p.n), 'on', int(p.on),
    false, false, false, false, false, false, false, false, false, false, false, false, false, false, false, false, false, false,
  }
  local count = 21
  for i = 1, #SOME_HAVE do
    local name = SOME_HAVE[i]
    if p[name] then
      fields[count + 1], fields[count + 2], count = name, p[name], count + 2
    end
  end
  call('HSET', unpack(fields, 1, count))
end

local function store_participant(c, p)
  local key = participant_key(c, p.who)
  if p.fresh then
    call('ZADD', c.P .. ':pl', '0', p.app .. '\0' .. p.id)
    store_new(key, p)
    p.fresh = nil
  elseif p.rewrite or p.status or p.sts or p.marked or not p.seen then
    save(key, p, p.rewrite and PROFILE or COUNTS)
  else
    call('HSET', key, 'ver', p.ver, 'shown', p.shown, 'n', int(p.n), 'on', int(p.on), 'seen', p.seen)
  end
end

local function keep_or_forget(c, p, before)
  if p.n > 0 then
    store_participant(c, p)
    if before.n == 0 and not before.fresh then
      call('ZREM', c.P .. ':off:' .. p.app, p.id)
    end
  elseif p.anon then
    forget_participant(c, p)
  else
    store_participant(c, p)
    call('ZADD', c.P .. ':off:' .. p.app, clock_text(c), p.id)
  end
end

local function schedule_unreachable(c, p, before)
  if presence(p) == 'unreachable' and p.shown == 'online' then
    if not before.waiting then
      call('ZADD', c.P .. ':due', 'NX', int(clock_now(c) + NOTIFY_AFTER_MS), 't' .. p.who)
    end
  elseif before.waiting then
    call('ZREM', c.P .. ':due', 't' .. p.who)
  end
end

-- What was before a step changes counts or profile.
local function snapshot(p)
  local waiting = p.n > 0 and p.on == 0 and p.shown == 'online'
  return {n = p.n, on = p.on, shown = p.shown, rev = p.rev, waiting = waiting, fresh = p.fresh, status = some(p.status)}
end

-- A session's status; nil where it is `available`, or the session has ended.
local function set_status(p, sid, status)
  local list = {}
  for _, each in ipairs(some(p.sts) and cjson.decode(p.sts) or {}) do
    if each[1] ~= sid then
      list[#list + 1] = each
    end
  end
  if status then
    list[#list + 1] = {sid, status}
  end
  p.sts = #list > 0 and cjson.encode(list) or ''
end

-- How available a status is; a text of the app's own is 1.
local STATUS_RANK = {busy = 2, away = 3}

-- That of the most available session; of several texts the one set last.
local function share_status(p)
  if p.n == 0 then
    p.sts = ''
  end
  local list = some(p.sts) and cjson.decode(p.sts) or {}
  local best, least = '', 9
  if #list >= p.n then
    for _, each in ipairs(list) do
      local rank = STATUS_RANK[each[2]] or 1
      if rank <= least then
        best, least = each[2], rank
      end
    end
  end
  p.status = best
end

-- Whether `participant.updated` goes out now. If not, one event covers all changes of the next seconds. Who has no
-- session can be changed by the app's backend alone: it is emitted at once.
local function update_is_due(c, p, before)
  local waits = p.wait == '1'
  -- with no session before or now, `online` or `offline` says the status
  local restated = p.n > 0 and before.n > 0 and some(p.status) ~= before.status
  if (p.rev == before.rev and not restated) or before.fresh then
    if waits and p.n == 0 then
      p.wait, p.rewrite = '0', true
      return true
    end
    return false
  end
  local clock = clock_now(c)
  p.rewrite = true
  if p.n > 0 and clock < number(p.upd) then
    if not waits then
      p.wait = '1'
      call('ZADD', c.P .. ':due', 'NX', p.upd, 'u' .. p.who)
    end
    return false
  end
  p.upd, p.wait = int(clock + UPDATE_EVENT_PERIOD_MS), '0'
  return true
end

-- After a step: what is shown, version, events, the change, and the record. `notify`: the 2 s of unreachable are over.
local function finish(c, p, before, notify)
  local now = presence(p)
  if now ~= 'unreachable' or before.shown == 'offline' or notify then
    p.shown = now
  end
  if not before.unseen and (p.n ~= before.n or p.on ~= before.on or before.touched) then
    p.seen = c.now
  end
  if p.sts then
    share_status(p)
  end
  local changed = before.changed or p.shown ~= before.shown or p.n ~= before.n or p.rev ~= before.rev
    or some(p.status) ~= before.status
  if changed then
    p.ver = next_version(c, p.ver)
  end
  schedule_unreachable(c, p, before)
  if p.rooms and (p.rev ~= before.rev or some(p.status) ~= before.status) then
    rooms.mark_record(c, p)
  end
  local updated = update_is_due(c, p, before)
  keep_or_forget(c, p, before)
  if updated then
    emit_participant(c, p, 'updated')
  end
  if p.shown ~= before.shown then
    emit_participant(c, p, p.shown)
  end
  if changed then
    publish_change(c, p)
  end
end

-- The attributes after the changes (null removes) as JSON, and whether they differ; or nil and the refusal.
local function merge_attributes(p, changes)
  local merged, differs = some(p.attrs) and cjson.decode(p.attrs) or {}, false
  for name, value in pairs(changes) do
    if value == cjson.null then
      value = nil
    end
    differs = differs or merged[name] ~= value
    merged[name] = value
  end
  local names, size = {}, 0
  for name, value in pairs(merged) do
    names[#names + 1] = name
    size = size + #name + #value
  end
  if #names > MAX_ATTRIBUTES or size > MAX_ATTRIBUTES_BYTES then
    return nil, refuse('attributes', 'count', #names, 'size', size)
  end
  table.sort(names)
  for i, name in ipairs(names) do
    names[i] = quote(name) .. ':' .. quote(merged[name])
  end
  return #names > 0 and '{' .. table.concat(names, ',') .. '}' or '', differs
end

-- The profile as the request would have it, and whether it differs; or nil and the refusal. Changes nothing.
local function wanted_profile(p, r)
  local wanted = {name = r.name or p.name, avatar = r.avatar_url or p.avatar, attrs = p.attrs}
  local differs = wanted.name ~= p.name or wanted.avatar ~= p.avatar
  if r.attributes then
    local attrs, others = merge_attributes(p, r.attributes)
    if not attrs then
      return nil, others
    end
    wanted.attrs, differs = attrs, differs or others
  end
  return wanted, differs
end

local function set_profile(p, wanted)
  p.name, p.avatar, p.attrs, p.rev = wanted.name, wanted.avatar, wanted.attrs, p.rev + 1
  p.rewrite, p.quoted_name = true, nil
end

-- S18. Blocks and cut-offs lie under the SHA-256 of the participant's id, so that they outlive its erasure.
local function restrictions_of(c, app, hashed, jti)
  local found = call('HMGET', c.P .. ':r:' .. app, 'b:' .. hashed, 'c:' .. hashed, 'j:' .. (jti or ''), 'a:')
  local block = found[1] and cjson.decode(found[1]) or nil
  local cutoff = found[2] and cjson.decode(found[2]) or nil
  return block, cutoff, found[3], found[4] and cjson.decode(found[4]) or nil
end

local function blocks(c, block)
  return block and not block.lifted and (block['until'] == nil or block['until'] > c.ms)
end

-- Nil, or the refusal of an open, attach or refresh with this token.
local function restricted(c, app, hashed, jti, issued_at)
  local block, cutoff, revoked, all = restrictions_of(c, app, hashed, jti)
  if all and all.disabled then
    return refuse('disabled')
  end
  if blocks(c, block) then
    return refuse('blocked', 'until', block['until'])
  end
  local before = math.max(cutoff and cutoff.before or 0, all and all.before or 0)
  if revoked or number(issued_at) <= before then
    return refuse('revoked')
  end
  return nil
end
