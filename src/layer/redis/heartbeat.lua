-- Once a second, by every instance: is this still the same Redis, which instances are there, does a
-- message return. Returns the generation and the instances that deliver.
local generation_key = KEYS[1]
local instances_key = KEYS[2]

local instance = ARGV[1]
local known_generation = tonumber(ARGV[2])
local delivers = ARGV[3] == '1'
local probe_channel = ARGV[4]
local probe = ARGV[5]
-- Seconds that publications wait outside the layer while no instance runs; 0 = nothing waits.
local max_absence = tonumber(ARGV[6])

-- An instance that does not deliver is a member, too, under a name of its own.
local function member(of_delivering)
  return (of_delivering and '' or '-') .. instance
end

local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local stored = redis.call('HMGET', generation_key, 'run', 'n')
local now = tonumber(redis.call('TIME')[1])
local newest = redis.call('ZREVRANGE', instances_key, 0, 0, 'WITHSCORES')
local absence = now - tonumber(newest[2] or 0)

-- Removals first: they lift Redis' check of 'maxmemory' from the rest. Otherwise nothing would empty a
-- full Redis, since no instance would count as present to drain it.
redis.call('ZREM', instances_key, member(not delivers))
redis.call('ZREMRANGEBYSCORE', instances_key, '-inf', now - math.max(60, max_absence + 60))

local n = tonumber(stored[2] or 0)
local same_server = stored[1] == run_id
local something_expired = max_absence > 0 and absence > max_absence
if not same_server or something_expired then
  n = math.max(n, known_generation) + 1
  -- Greater than any generation that was lost with the data.
  if not stored[1] then n = math.max(n, now) end
  redis.call('HSET', generation_key, 'run', run_id, 'n', n)
end

-- Present from its first heartbeat on, delivering or not: what it drains does not expire.
redis.call('ZADD', instances_key, now, member(delivers))
redis.call('EXPIRE', instances_key, 120 + max_absence)
local delivering = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', instances_key, now - 4, '+inf')) do
  if string.sub(id, 1, 1) ~= '-' then delivering[#delivering + 1] = id end
end
redis.call('PUBLISH', probe_channel, probe)
return { n, delivering }
