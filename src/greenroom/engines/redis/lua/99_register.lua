-- Functions that only read may run where writes are refused; those that end, detach or renew may run when memory is
-- full, so that it can get better.
local READS = {'participants', 'participant_ids', 'sessions', 'events', 'extents', 'acknowledged', 'aside',
  'restrictions', 'counts', 'directory', 'application', 'directory_version'}
local RELIEVES = {'close', 'detach', 'reap', 'renew', 'node', 'restrict', 'trim', 'drop_aside'}

local flags = {}
for _, name in ipairs(READS) do
  flags[name] = {'no-writes'}
end
for _, name in ipairs(RELIEVES) do
  flags[name] = {'allow-oom'}
end
for name, callback in pairs(functions) do
  redis.register_function({
    function_name = LIBRARY .. '_' .. name,
    callback = callback,
    flags = flags[name] or {},
  })
end
