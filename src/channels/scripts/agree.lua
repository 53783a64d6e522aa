-- What all instances of a cluster must have in common, and what Redis must let them do. KEYS: what was
-- agreed, a mailbox, a group that nobody has, the ingress stream, a key for trying out. ARGV: mailboxes,
-- version of the format, a channel, '1' if mailboxes are drained, '1' if the ingress is. Returns what
-- was agreed, then pairs of a command and why it failed.

-- Takes no memory, and lifts the check of 'maxmemory': a full Redis is to be drained all the same.
-- Whether it is allowed is told below.
redis.pcall('DEL', KEYS[5])
if ARGV[4] == '1' then redis.call('HSETNX', KEYS[1], 'boxes', ARGV[1]) end
redis.call('HSETNX', KEYS[1], 'format', ARGV[2])
local answer = redis.call('HMGET', KEYS[1], 'boxes', 'format')
answer[1] = answer[1] or ''

-- Nothing of this changes anything but the last key, which is deleted again.
local function try(...)
  local outcome = redis.pcall(...)
  if type(outcome) == 'table' and outcome.err then
    answer[#answer + 1] = (...)
    answer[#answer + 1] = outcome.err
  end
end

if ARGV[4] == '1' then
  try('ZCARD', KEYS[2])
  try('ZRANGE', KEYS[2], 0, 0)
  try('ZREM', KEYS[2], '')
  try('ZSCORE', KEYS[2], '')
  try('ZADD', KEYS[3], 'XX', 'GT', 0, '')
  try('ZREM', KEYS[3], '')
  try('EXPIRE', KEYS[3], 1)
end
if ARGV[5] == '1' then
  try('XLEN', KEYS[4])
  try('XRANGE', KEYS[4], '-', '+', 'COUNT', 1)
  try('XDEL', KEYS[4], '0-0')
end
try('PUBSUB', 'NUMSUB', ARGV[3])
try('PUBLISH', ARGV[3], '\3')
try('RPUSH', KEYS[5], '')
try('LLEN', KEYS[5])
try('LRANGE', KEYS[5], 0, 0)
try('PEXPIRE', KEYS[5], 1)
try('EXISTS', KEYS[5])
try('DEL', KEYS[5])
try('SET', KEYS[5], '', 'PX', 1)
return answer
