-- Removes entries that were published by way of another server from the set that they were read
-- from. KEYS: the set, and a hash of what is under way, see look.lua. ARGV: in turn an entry and
-- its score: an entry that was written again meanwhile stays, since it is another message.
-- Returns how many were removed.
local source = KEYS[1]

-- Whatever follows, no process has ended by decoding these. It takes no memory.
redis.call('HDEL', KEYS[2], source)

local removed = 0
for at = 1, #ARGV, 2 do
  if redis.call('ZSCORE', source, ARGV[at]) == ARGV[at + 1] then
    removed = removed + redis.call('ZREM', source, ARGV[at])
  end
end
return removed
