-- What all instances of a cluster must have in common: the first one writes it, the others compare.
-- Returns the mailboxes agreed (empty = none yet) and the version of the format.
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
