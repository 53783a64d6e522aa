-- Once a second, by every instance: is this still the same Redis, who else is there, does a message
-- come back. KEYS: generation, instances. ARGV: instance, generation known, '1' if it delivers,
-- channel and text of the probe. Returns generation and the number of other instances that deliver.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local known = redis.call('HMGET', KEYS[1], 'run', 'n')
local time = redis.call('TIME')
local now = tonumber(time[1])
local n = tonumber(known[2] or 0)
if known[1] ~= run then
  -- The clock makes it greater than any that was forgotten with the data.
  n = math.max(n, tonumber(ARGV[2])) + 1
  if not known[1] then n = math.max(n, now) end
  redis.call('HSET', KEYS[1], 'run', run, 'n', n)
end
if ARGV[3] == '1' then
  redis.call('ZADD', KEYS[2], now, ARGV[1])
else
  redis.call('ZREM', KEYS[2], ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 60)
redis.call('EXPIRE', KEYS[2], 120)
local peers = redis.call('ZCOUNT', KEYS[2], now - 4, '+inf')
if ARGV[3] == '1' then peers = peers - 1 end
redis.call('PUBLISH', ARGV[4], ARGV[5])
return { n, peers }
