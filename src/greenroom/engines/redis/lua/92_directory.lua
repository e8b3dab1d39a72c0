-- Applications and signing keys: KEYS[1] is greenroom:{directory}, a hash of its version. No marker: a node's copy is
-- written back by put_back, and nothing missing is read as deleted (S15).

do -- a block of its own: one Lua function has at most 200 local names

functions.directory = function(keys, _)
  return {'ok', call('HGET', keys[1], 'version'), call('HVALS', keys[1] .. ':apps'), call('HVALS', keys[1] .. ':keys')}
end

functions.application = function(keys, args)
  return {'ok', call('HGET', keys[1] .. ':apps', cjson.decode(args[2]).key)}
end

functions.directory_version = function(keys, _)
  return {'ok', call('HGET', keys[1], 'version')}
end

functions.touch = function(keys, _)
  return {'ok', call('HINCRBY', keys[1], 'version', 1)}
end

-- :issuers says which application has an issuer with an audience. What it says is looked up in that application's record:
-- a node of an older version writes records, and knows nothing of it.
local function issuer_field(one)
  return #one.issuer .. ':' .. one.issuer .. one.audience
end

local function issuers_of(record)
  return record.deleted and {} or record.issuers or {}
end

local function has_issuer(record, field)
  for _, one in ipairs(issuers_of(record)) do
    if issuer_field(one) == field then
      return true
    end
  end
  return false
end

-- Whether another application has one of the record's issuers, which `stored` has not.
local function is_issuer_taken(keys, key, record, stored)
  for _, one in ipairs(issuers_of(record)) do
    local field = issuer_field(one)
    if not (stored and has_issuer(stored, field)) then
      local owner = call('HGET', keys[1] .. ':issuers', field)
      local other = owner and owner ~= key and call('HGET', keys[1] .. ':apps', owner)
      if other and has_issuer(cjson.decode(other), field) then
        return true
      end
    end
  end
  return false
end

local function index_issuers(keys, key, record, stored)
  for _, one in ipairs(stored and issuers_of(stored) or {}) do
    local field = issuer_field(one)
    if not has_issuer(record, field) and call('HGET', keys[1] .. ':issuers', field) == key then
      call('HDEL', keys[1] .. ':issuers', field)
    end
  end
  for _, one in ipairs(issuers_of(record)) do
    call('HSET', keys[1] .. ':issuers', issuer_field(one), key)
  end
end

-- version: the one it was read at, 0 where it must be new. The record already says version + 1.
functions.save_application = function(keys, args)
  local r = cjson.decode(args[2])
  local body = call('HGET', keys[1] .. ':apps', r.key)
  local stored = body and cjson.decode(body)
  local version = stored and stored.version or 0
  if version ~= r.version then
    return refuse('version', 'version', version)
  end
  local record = cjson.decode(r.record)
  if is_issuer_taken(keys, r.key, record, stored) then
    return refuse('issuer_taken')
  end
  index_issuers(keys, r.key, record, stored)
  call('HSET', keys[1] .. ':apps', r.key, r.record)
  call('HINCRBY', keys[1], 'version', 1)
  return {'ok'}
end

functions.save_key = function(keys, args)
  local r = cjson.decode(args[2])
  call('HSET', keys[1] .. ':keys', r.kid, r.record)
  call('HINCRBY', keys[1], 'version', 1)
  return {'ok'}
end

-- Applications missing or at a lower version, keys missing. `version`: the directory's as the node knew it.
functions.put_back = function(keys, args)
  local r = cjson.decode(args[2])
  local written = 0
  for _, item in ipairs(r.applications) do
    local stored = call('HGET', keys[1] .. ':apps', item.key)
    if not stored or cjson.decode(stored).version < item.version then
      index_issuers(keys, item.key, cjson.decode(item.record), stored and cjson.decode(stored))
      call('HSET', keys[1] .. ':apps', item.key, item.record)
      written = written + 1
    end
  end
  for _, item in ipairs(r.keys) do
    written = written + call('HSETNX', keys[1] .. ':keys', item.kid, item.record)
  end
  if written > 0 then
    local version = number(call('HGET', keys[1], 'version'))
    call('HSET', keys[1], 'version', int(math.max(version, r.version) + 1))
  end
  return {'ok', written}
end

end
