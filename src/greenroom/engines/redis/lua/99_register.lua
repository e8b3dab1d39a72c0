-- Functions that only read may run where writes are refused; those that end, detach or renew may run when memory is
-- full, so that it can get better. While a library is loaded Lua has no ipairs or pairs: one line each.
local function register(name, flag)
  local callback = functions[name]
  redis.register_function({
    function_name = LIBRARY .. '_' .. name,
    callback = function(keys, args)
      if not call then
        call, tonumber, type, unpack, find, format, max = globals()
      end
      return callback(keys, args)
    end,
    flags = flag and {flag} or {},
  })
end

register('open')
register('attach')
register('refresh')
register('detach', 'allow-oom')
register('close', 'allow-oom')
register('update')
register('restrict', 'allow-oom')
register('restrictions', 'no-writes')
register('put_application')
register('put_restrictions')
register('renew', 'allow-oom')
register('reap', 'allow-oom')
register('node', 'allow-oom')
register('probe')
register('counts', 'no-writes')
register('restore')
register('participants', 'no-writes')
register('participant_ids', 'no-writes')
register('sessions', 'no-writes')
register('ended_sessions', 'no-writes')
register('count', 'no-writes')
register('keep_headcount')
register('headcounts', 'no-writes')
register('events', 'no-writes')
register('confirm', 'allow-oom')
register('trim_old', 'allow-oom')
register('trim_surplus', 'allow-oom')
register('extents', 'no-writes')
register('acknowledge')
register('acknowledged', 'no-writes')
register('set_aside')
register('aside', 'no-writes')
register('drop_aside', 'allow-oom')
register('claim')
register('directory', 'no-writes')
register('application', 'no-writes')
register('directory_version', 'no-writes')
register('touch')
register('save_application')
register('save_key')
register('put_back')
