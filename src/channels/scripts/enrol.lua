-- Registers groups on a server of the channel layer's own, so that senders find them.
-- KEYS: where senders look for each group. ARGV: seconds after which senders forget a member, then
-- for each group the member and '1' if it should be there already. Returns the places of groups
-- that should be there and are not: what was sent to them is lost, and to be told first.
local member_expiry = ARGV[1]

local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', time[2])
local missing = {}
for place, registry in ipairs(KEYS) do
  local member, is_expected = ARGV[2 * place], ARGV[2 * place + 1] == '1'
  -- Takes no memory, and lifts the check of 'maxmemory', as in register.lua.
  redis.call('EXPIRE', registry, member_expiry)
  if is_expected and not redis.call('ZSCORE', registry, member) then
    missing[#missing + 1] = place - 1
  else
    redis.call('ZADD', registry, 'GT', now, member)
    redis.call('EXPIRE', registry, member_expiry)
  end
end
return missing
