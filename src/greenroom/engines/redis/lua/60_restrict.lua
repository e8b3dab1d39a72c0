-- Blocks, revocations, kicks (S18), and what of them is listed and written back (S15).

local function live_sessions(c, app, pid)
  local out = {}
  for sid in pairs(sessions_of(c, owner_key(app, pid))) do
    local s, flat = load_session(c, sid)
    if s then
      s.flat = flat
      out[#out + 1] = s
    end
  end
  table.sort(out, by_age('opened'))
  return out
end

-- field: b:<hashed>, c:<hashed> or j:<jti>. Kept until `expires` (engine time, ms), for good where nil.
local function put_restriction(c, app, field, record, expires)
  call('HSET', c.P .. ':r:' .. app, field, record)
  call('SADD', c.P .. ':ra', app)
  local member = owner_key(app, field)
  if expires then
    call('ZADD', c.P .. ':rx', int(expires), member)
  else
    call('ZREM', c.P .. ':rx', member)
  end
end

-- Where an application has too many here, those that expire next make room. Whether there is room.
local function make_room(c, app)
  local key, prefix = c.P .. ':r:' .. app, owner_key(app, '')
  if call('HLEN', key) < RESTRICTIONS_OF_PARTITION then
    return true
  end
  local dropped = 0
  for _, member in ipairs(call('ZRANGE', c.P .. ':rx', 0, 999)) do
    if dropped < 50 and string.sub(member, 1, #prefix) == prefix then
      call('HDEL', key, string.sub(member, #prefix + 1))
      call('ZREM', c.P .. ':rx', member)
      dropped = dropped + 1
    end
  end
  return dropped > 0
end

local function put_block(c, r, block)
  local record = json('kind', 'block', 'subject', block.subject, 'until', block['until'], 'reason', block.reason,
    'created_at', block.created_at, 'lifted', block.lifted or nil)
  put_restriction(c, r.app, 'b:' .. r.hashed, record, block.lifted and c.ms + RESTRICTION_MEMORY_MS or block['until'])
end

local function put_cutoff(c, r, subject, before)
  local record = json('kind', 'cutoff', 'subject', subject, 'before', before, 'reason', r.reason, 'created_at', c.ms)
  put_restriction(c, r.app, 'c:' .. r.hashed, record, math.max(before * 1000, c.ms) + RESTRICTION_MEMORY_MS)
end

local function put_jti(c, r, jti)
  -- a kick's or block's reason is not repeated here: it may name a participant who is erased later
  local reason = r.jti and r.reason or ''
  local record = json('kind', 'jti', 'subject', jti, 'reason', reason, 'created_at', c.ms)
  put_restriction(c, r.app, 'j:' .. jti, record, c.ms + RESTRICTION_MEMORY_MS)
end

local function end_all(c, r, reason, hit)
  local flats = {}
  local p = load_participant(c, r.app, r.participant_id)
  if not p then
    return flats
  end
  local before = snapshot(p)
  for _, s in ipairs(live_sessions(c, r.app, r.participant_id)) do
    if hit(s) then
      -- one issued later than the cut-off still, by a clock that is ahead, is revoked by its id
      if r.cut and some(s.jti) and number(s.iat) > r.cut then
        put_jti(c, r, s.jti)
      end
      flats[#flats + 1] = end_whole(c, s, s.flat, p, reason, r.reason)
    end
  end
  if #flats > 0 then
    finish(c, p, before)
  end
  return flats
end

local function everything()
  return true
end

local function raise_cutoff(c, r, cutoff)
  local last = cutoff and cutoff.before or 0
  local before = r.before or math.ceil(c.us / 1000000)
  if before <= last then
    return last, false
  end
  put_cutoff(c, r, r.participant_id, before)
  return before, true
end

local kinds = {}

function kinds.kick(c, r, _, cutoff)
  r.cut = raise_cutoff(c, r, cutoff)
  return end_all(c, r, 'kicked', everything), true, r.cut
end

function kinds.block(c, r, _, cutoff)
  put_block(c, r, {subject = r.participant_id, ['until'] = r['until'], reason = r.reason, created_at = c.ms})
  r.cut = raise_cutoff(c, r, cutoff)
  return end_all(c, r, 'blocked', everything), true, r.cut
end

function kinds.lift(c, r, block, cutoff)
  block.lifted = true
  block.created_at = c.ms
  put_block(c, r, block)
  return {}, true, cutoff and cutoff.before or 0
end

function kinds.cutoff(c, r, _, cutoff)
  local before, changed = raise_cutoff(c, r, cutoff)
  local flats = end_all(c, r, 'token_revoked', function(s)
    return number(s.iat) <= before
  end)
  return flats, changed or #flats > 0, before
end

function kinds.jti(c, r, _, cutoff)
  local fresh = call('HEXISTS', c.P .. ':r:' .. r.app, 'j:' .. r.jti) == 0
  put_jti(c, r, r.jti)
  local flats = end_all(c, r, 'token_revoked', function(s)
    return s.jti == r.jti
  end)
  return flats, fresh or #flats > 0, cutoff and cutoff.before or 0
end

function kinds.erase(c, r, block, cutoff)
  r.cut = math.max(cutoff and cutoff.before or 0, math.ceil(c.us / 1000000))
  c.erases = true
  local flats = end_all(c, r, 'kicked', everything)
  local p, who = load_participant(c, r.app, r.participant_id)
  for _, sid in ipairs(call('ZRANGE', ended_of(c, who), 0, -1)) do
    forget_session(c, sid)
  end
  local _, opened = sessions_of(c, who)
  for _, sid in pairs(opened) do
    forget_session(c, sid) -- what ended under library 1
  end
  call('DEL', c.P .. ':ps:' .. who, open_ids(c, who))
  if p then
    -- The last change that watchers get has no names.
    p.ver = next_version(c, p.ver)
    p.xid, p.name, p.avatar, p.rev, p.seen, p.attrs, p.status = nil, '', '', 0, nil, nil, nil
    publish_change(c, p)
    forget_participant(c, p)
  end
  begin_erasure(c, r.app, r.participant_id)
  if blocks(c, block) then
    block.subject, block.reason = r.erased, ''
    put_block(c, r, block)
  else
    call('HDEL', c.P .. ':r:' .. r.app, 'b:' .. r.hashed)
  end
  r.reason = ''
  put_cutoff(c, r, r.erased, r.cut)
  return flats, p ~= nil, r.cut
end

define('restrict', function(c, r)
  local block, cutoff = restrictions_of(c, r.app, r.hashed, nil)
  if r.kind == 'lift' and not blocks(c, block) then
    return refuse('not_found')
  end
  if r.kind ~= 'lift' and r.kind ~= 'erase' and not make_room(c, r.app) then
    return refuse('restrictions')
  end
  local flats, changed, before = kinds[r.kind](c, r, block, cutoff)
  if #flats == 0 then
    mark_repeated(c)
  end
  return {'ok', flats, changed and 1 or 0, before, count_of(c, r.app)}
end)

-- Restrictions of this partition, a piece at a time: app, record, app, record, …; then the application and the place in
-- it to continue from, where there are more.
define('restrictions', function(c, r)
  local apps = r.app and {r.app} or call('SMEMBERS', c.P .. ':ra')
  table.sort(apps)
  local out, scan = {}, r.scan or '0'
  for steps, app in ipairs(apps) do
    if not r.from or app >= r.from then
      if app ~= r.from then
        scan = '0'
      end
      repeat
        if #out >= 500 or steps > 500 and #out > 0 then
          return {'ok', out, app, scan}
        end
        local found = call('HSCAN', c.P .. ':r:' .. app, scan, 'COUNT', 250)
        scan = found[1]
        for i = 2, #found[2], 2 do
          out[#out + 1] = app
          out[#out + 1] = found[2][i]
        end
      until scan == '0'
    end
  end
  return {'ok', out}
end)

-- A lift is newer than the block it ends; a cut-off only rises.
local function is_newer(item, stored)
  if item.before then
    return item.before > stored.before
  end
  if item.created_at ~= stored.created_at then
    return item.created_at > stored.created_at
  end
  return item.lifted and not stored.lifted
end

-- What of an application concerns every session: a: in every partition, so that it is checked in the same step.
define_unmarked('put_application', function(c, r)
  call('HSET', c.P .. ':r:' .. c.arg.app, 'a:', json('disabled', c.arg.disabled or nil, 'before', c.arg.before))
  return {'ok'}
end)

-- Restore: what is missing or older. Runs without a marker, because blocks come before it (S15).
define_unmarked('put_restrictions', function(c, r)
  local written = 0
  for _, item in ipairs(c.arg.items) do
    local key = c.P .. ':r:' .. item.app
    local stored = call('HGET', key, item.field)
    if not stored or is_newer(item, cjson.decode(stored)) then
      put_restriction(c, item.app, item.field, item.record, item.expires)
      written = written + 1
    end
  end
  return {'ok', written}
end)
