-- Restore on an engine that lost what it knew (S15). Runs without a marker; the last call sets it.

local SESSION = {'v', 'id', 'app', 'pid', 'xid', 'gen', 'state', 'node', 'lease', 'opened', 'dev', 'devname', 'sdk',
  'addr', 'jti', 'iat', 'exp', 'scopes', 'secret', 'first', 'hashed', 'attempt', 'grace', 'status', 'rooms'}

-- Takes over what the node knew of the participant if that is newer; whether it was.
local function restore_participant(p, given)
  if not p.fresh and tonumber(p.ver) >= given.ver then
    return false
  end
  p.name, p.avatar, p.rev, p.ver, p.attrs = given.name, given.avatar, given.rev, int(given.ver), given.attrs
  p.rewrite = true
  if p.fresh then
    p.shown = given.shown -- else what was shown is as stored, like the events about it
  end
  return true
end

local function put_session(c, s, old, p)
  if old then
    unhook(c, old)
    if old.state == 'attached' then
      p.on = p.on - 1
    end
    p.n = p.n - 1
  else
    call('HINCRBY', c.P .. ':apps', s.app, 1)
  end
  local before = old and some(old.rooms) and cjson.decode(old.rooms) or {}
  local names = some(s.rooms) and cjson.decode(s.rooms) or {}
  if #before > 0 then
    s.rooms = s.rooms or ''
  end
  save(session_key(c, s.id), s, SESSION)
  call('HDEL', session_key(c, s.id), 'detached', 'told', 'prev')
  call('HSET', c.P .. ':ps:' .. p.who, 's:' .. s.id, s.dev or '')
  call('ZADD', c.P .. ':live', 0, s.app .. '\0' .. s.id)
  call('SADD', c.P .. ':l:' .. s.lease, s.id)
  p.n, p.on = p.n + 1, p.on + 1
  if s.status or some(p.sts) then
    set_status(p, s.id, s.status)
  end
  for _, name in ipairs(names) do
    rooms.put(c, p, name, c.us)
  end
  rooms.mark(c, p.who, before, 'lost')
  rooms.mark(c, p.who, names)
  note(c, s, 'restored', s.node, '')
end

local function restore_one(c, item)
  local s = item.session
  local old = load_session(c, s.id)
  if old and old.state == 'closed' or not old and end_of_forgotten(c, s.id) then
    return 0
  end
  local p = participant_of(c, s)
  local before = snapshot(p)
  local changed = restore_participant(p, item.participant)
  if not old or number(old.gen) < s.gen then
    put_session(c, s, old, p)
    changed = true
  elseif changed and number(old.gen) == s.gen and some(old.status) ~= s.status then
    call('HSET', session_key(c, s.id), 'status', s.status or '')
    set_status(p, s.id, s.status)
  end
  if not changed then
    return 0
  end
  -- S11: a version above the one the node has passed on, though nothing else may differ; news only of what changed
  before.shown, before.n = p.shown, -1
  finish(c, p, before)
  return 1
end

-- S11, of whom nobody holds a session: what watchers were sent was lost, so what is stored gets a version above it.
local function raise_version(c, app, pid, version)
  local p = load_participant(c, app, pid)
  if not p or tonumber(p.ver) >= version then
    return 0
  end
  local before = snapshot(p)
  before.changed = true
  p.ver = int(version)
  finish(c, p, before)
  return 1
end

define_unmarked('restore', function(c, r)
  if c.clock == 0 then
    c.clock, c.clock_text = c.ms, nil
  end
  if #r.items > 0 and not take_lease(c, r.lease, r.node, r.ms) then
    return refuse('fenced')
  end
  local written = 0
  for _, item in ipairs(r.items) do
    written = written + restore_one(c, item)
  end
  for _, sent in ipairs(c.marker and r.versions or {}) do
    written = written + raise_version(c, sent[1], sent[2], sent[3])
  end
  if not c.marker then
    call('HSETNX', c.P, 'clock', int(c.clock))
    call('HSETNX', c.P, 'at', int(c.ms))
    if r.finish then
      call('HSET', c.P, 'marker', r.marker, 'restored', int(c.clock))
    end
  end
  return {'ok', written, r.finish and call('HGET', c.P, 'marker') or ''}
end)
