-- What every call uses of Redis and of Lua. It is not there while the library is loaded, and Redis makes a global cost
-- more than a local; so it is taken over as the first function is entered.
local function globals()
  return redis.call, tonumber, type, unpack, string.find, string.format, math.max, struct.unpack
end

local call, tonumber, type, unpack, find, format, max, split
