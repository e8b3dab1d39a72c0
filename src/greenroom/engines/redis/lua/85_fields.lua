-- The way back to 0.2: sessions in one field become ones of many, which that version reads.

-- Looks at some sessions after a place, or where `ended`, at some that have ended, from the latest on (they lie among
-- what is due). How many were written, and the place to continue from, nil at the end.
define('store_fields', function(c, r)
  local members, written, place = nil, 0, nil
  if r.ended then
    members = call('ZREVRANGEBYSCORE', c.P .. ':due', '+inf', '-inf', 'LIMIT', r.place, int(r.limit))
    place = int(r.place + #members)
  else
    members = call('ZRANGEBYLEX', c.P .. ':live', r.place, '+', 'LIMIT', '0', int(r.limit))
    place = '(' .. (members[#members] or '')
  end
  for _, member in ipairs(members) do
    local sid = string.match(member, r.ended and '^f(.*)$' or '%z(.*)$')
    local s = sid and load_session(c, sid)
    if s and s.v2 then
      s.v, s.v2 = '1', nil
      local fields = {session_key(c, sid)}
      for name, value in pairs(s) do
        fields[#fields + 1], fields[#fields + 2] = name, value
      end
      call('HSET', unpack(fields))
      call('HDEL', session_key(c, sid), 'v2')
      written = written + 1
    end
  end
  return {'ok', written, #members == r.limit and place or nil}
end)
