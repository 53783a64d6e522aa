-- Once a second, by every instance: is this still the same Redis, who else is there, does a message
-- come back. KEYS: generation, instances. ARGV: instance, generation known, '1' if it delivers,
-- channel and text of the probe, seconds that a durable source keeps things ('0' = there is none).
-- Returns generation and the instances that deliver.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local known = redis.call('HMGET', KEYS[1], 'run', 'n')
local now = tonumber(redis.call('TIME')[1])
local n = tonumber(known[2] or 0)
local newest = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local absent = now - tonumber(newest[2] or 0)
-- What waited longer than its source keeps it is gone, and nobody has seen it go.
local expired = ARGV[6] ~= '0' and absent > tonumber(ARGV[6])
-- First what gives memory back: it also lifts the check of 'maxmemory' from the rest, without which a
-- full Redis would get rid of nothing, since nobody would count as there to drain it.
redis.call('ZREM', KEYS[2], (ARGV[3] == '1' and '-' or '') .. ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - math.max(60, tonumber(ARGV[6]) + 60))
if known[1] ~= run or expired then
  -- The clock makes it greater than any that was forgotten with the data.
  n = math.max(n, tonumber(ARGV[2])) + 1
  if not known[1] then n = math.max(n, now) end
  redis.call('HSET', KEYS[1], 'run', run, 'n', n)
end
-- Counted as there from the first word on: what it drains is not lost by having been absent.
redis.call('ZADD', KEYS[2], now, (ARGV[3] == '1' and '' or '-') .. ARGV[1])
redis.call('EXPIRE', KEYS[2], 120 + tonumber(ARGV[6]))
local there = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], now - 4, '+inf')) do
  if string.sub(id, 1, 1) ~= '-' then there[#there + 1] = id end
end
redis.call('PUBLISH', ARGV[4], ARGV[5])
return { n, there }
