-- Ends registrations on a server of the channel layer's own, unless they were renewed since a
-- moment. KEYS: where senders look for each group. ARGV: the moment, seconds by this server's
-- clock, then for each group the member and for how many ms senders should find it (0 = no more).
-- Returns how many were removed.
local moment = tonumber(ARGV[1])

local removed = 0
for place, registry in ipairs(KEYS) do
  local member, stays_ms = ARGV[2 * place], tonumber(ARGV[2 * place + 1])
  local renewed = redis.call('ZSCORE', registry, member)
  if renewed and tonumber(renewed) < moment then
    if stays_ms == 0 then
      removed = removed + redis.call('ZREM', registry, member)
    elseif redis.call('ZCARD', registry) == 1 then
      -- Then the first entry that finds no listener removes the member, as in unregister.lua.
      redis.call('PEXPIRE', registry, stays_ms + 1000)
    end
  end
end
return removed
