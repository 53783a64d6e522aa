-- Settings that all instances of a cluster must share: the first instance writes them, the others
-- compare. Returns the number of mailboxes (empty = none yet) and the version of the format.
local agreed = KEYS[1]
local trial = KEYS[2]
local boxes = ARGV[1] -- empty = this instance has none
local format = ARGV[2]

-- Takes no memory, and lifts the check of 'maxmemory': a full Redis must still be drained.
redis.pcall('DEL', trial)
if boxes ~= '' then redis.call('HSETNX', agreed, 'boxes', boxes) end
redis.call('HSETNX', agreed, 'format', format)
local answer = redis.call('HMGET', agreed, 'boxes', 'format')
answer[1] = answer[1] or ''
return answer
