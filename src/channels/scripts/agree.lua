-- Settings that all instances of a cluster must share: the first instance writes them, the others
-- compare. The format in use is raised once every live instance reads a newer one. It need not be
-- raised at one moment: instances that still write the older format are read by all.
-- Returns the number of mailboxes (empty = none yet) and the format in use.
local agreed = KEYS[1]
local formats = KEYS[2] -- instances, by the newest format that each reads
local instances_key = KEYS[3]
local trial = KEYS[4]
local boxes = ARGV[1] -- empty = this instance has none
local oldest = tonumber(ARGV[2])
local newest = tonumber(ARGV[3])
local instance = ARGV[4]

-- Takes no memory, and lifts the check of 'maxmemory': a full Redis must still be drained.
redis.pcall('DEL', trial)
if boxes ~= '' then redis.call('HSETNX', agreed, 'boxes', boxes) end

-- The newest format that all live instances read. One that has not asked, or asked before the data
-- of Redis was lost, may be of a release that reads no more than the format in use.
local live = {}
for _, id in ipairs(redis.call('ZRANGE', instances_key, 0, -1)) do
  -- An instance that does not deliver has a '-' before its id, and may deliver again.
  live[string.gsub(id, '^-', '')] = true
end
live[instance] = nil
local common = newest
local stored = redis.call('ZRANGE', formats, 0, -1, 'WITHSCORES')
for i = 1, #stored, 2 do
  if live[stored[i]] then
    common = math.min(common, tonumber(stored[i + 1]))
    live[stored[i]] = nil
  elseif stored[i] ~= instance then
    redis.call('ZREM', formats, stored[i])
  end
end
local all_known = next(live) == nil

redis.call('HSETNX', agreed, 'format', all_known and common or oldest)
local in_use = tonumber(redis.call('HGET', agreed, 'format'))
if in_use and oldest <= in_use and in_use <= newest then
  redis.call('ZADD', formats, newest, instance)
  if all_known and common > in_use then redis.call('HSET', agreed, 'format', common) end
end

local answer = redis.call('HMGET', agreed, 'boxes', 'format')
answer[1] = answer[1] or ''
return answer
