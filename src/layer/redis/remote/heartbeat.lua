-- A heartbeat on a server besides the layer's: which data it holds, and which instances live.
-- KEYS: the generation of its data, a hash; the instances, a sorted set by their latest heartbeat.
-- ARGV: the id of this instance, the generation that it knows (0 = none), seconds after which
-- entries expire here, the generation up to which losses are told.
-- Returns the generation, and 1 if what an earlier one held may be lost and that is not told yet.
local generation_key, instances_key = KEYS[1], KEYS[2]
local instance = ARGV[1]
local known_generation = tonumber(ARGV[2])
local max_absence = tonumber(ARGV[3])
local told = tonumber(ARGV[4])

-- Removes, and so lifts Redis' check of 'maxmemory': a full server must be drained, too.
local time = redis.call('TIME')
local now = tonumber(time[1])
redis.call('ZREMRANGEBYSCORE', instances_key, '-inf', now - max_absence - 60)
-- The clock was set back, see the layer's: those that live are back in a second.
redis.call('ZREMRANGEBYSCORE', instances_key, now + 4, '+inf')

local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local stored = redis.call('HMGET', generation_key, 'run', 'n', 'untold', 'told')
local newest = redis.call('ZREVRANGE', instances_key, 0, 0, 'WITHSCORES')
local absence = now - tonumber(newest[2] or 0)
local n = tonumber(stored[2] or 0)
local untold = tonumber(stored[3] or 0)
told = math.max(told, tonumber(stored[4] or 0))

if stored[1] ~= run_id or absence > max_absence then
  n = math.max(n, known_generation) + 1
  -- Greater than any generation that was lost with the data, see heartbeat.lua.
  if not stored[1] then n = math.max(n, time[1] * 1e6 + time[2]) end
  redis.call('HSET', generation_key, 'run', run_id, 'n', string.format('%.0f', n))
  -- A server that was always empty has lost nothing.
  if stored[1] then untold = n end
end
-- Another instance, which knew nothing before, may have met the empty server first.
if known_generation > 0 and known_generation < n then untold = n end
if told >= untold then untold = 0 end
local function text(number) return string.format('%.0f', number) end
redis.call('HSET', generation_key, 'untold', text(untold), 'told', text(told))
redis.call('ZADD', instances_key, now, instance)
redis.call('EXPIRE', instances_key, max_absence + 120)
return { n, untold > 0 and 1 or 0 }
