-- Applications and signing keys: KEYS[1] is greenroom:{directory}, a hash of its version. No marker: a node's copy is
-- written back by put_back, and nothing missing is read as deleted (S15).

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

-- version: the one it was read at, 0 where it must be new. The record already says version + 1.
functions.save_application = function(keys, args)
  local r = cjson.decode(args[2])
  local stored = call('HGET', keys[1] .. ':apps', r.key)
  local version = stored and cjson.decode(stored).version or 0
  if version ~= r.version then
    return refuse('version', 'version', version)
  end
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
