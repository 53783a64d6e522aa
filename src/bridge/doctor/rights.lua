-- What the layer's and the bridge's scripts do, done to a key of one's own that is gone again at the end,
-- and to the others in ways that change nothing. KEYS: that key, generation, instances, ingress stream,
-- a mailbox, a group that nobody has. ARGV: a channel that nobody hears, '1' if mailboxes are drained,
-- '1' if the ingress is. Returns pairs of a command and why it failed.
local own = KEYS[1]
local refused = {}

local function try(...)
  local outcome = redis.pcall(...)
  if type(outcome) ~= 'table' or not outcome.err then return true end
  refused[#refused + 1] = (...)
  refused[#refused + 1] = outcome.err
  return false
end

try('INFO', 'server')
try('TIME')
try('HMGET', KEYS[2], 'run', 'n')
try('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')
try('ZRANGEBYSCORE', KEYS[3], '+inf', '+inf')
try('EXISTS', own)
try('PUBSUB', 'NUMSUB', ARGV[1])
try('PUBLISH', ARGV[1], '')
if ARGV[2] == '1' then
  try('ZCARD', KEYS[5])
  try('ZRANGE', KEYS[5], 0, 0)
  try('ZREM', KEYS[5], '')
  try('ZSCORE', KEYS[5], '')
  try('ZADD', KEYS[6], 'XX', 'GT', 0, '')
  try('ZREM', KEYS[6], '')
  try('EXPIRE', KEYS[6], 1)
end
if ARGV[3] == '1' then
  try('XLEN', KEYS[4])
  try('XRANGE', KEYS[4], '-', '+', 'COUNT', 1)
  try('XDEL', KEYS[4], '0-0')
end
-- Nothing is written that could not be removed.
if not try('DEL', own) then return refused end
try('HSET', own, 'run', '')
try('HSETNX', own, 'boxes', '')
redis.call('DEL', own)
try('ZADD', own, 0, '')
try('ZREM', own, '')
try('ZREMRANGEBYSCORE', own, '-inf', 0)
try('EXPIRE', own, 1)
redis.call('DEL', own)
try('XADD', own, 'MAXLEN', 1, '1-0', 't', '')
try('PEXPIRE', own, 1)
try('XRANGE', own, '-', '+')
redis.call('DEL', own)
try('RPUSH', own, '')
try('LLEN', own)
try('LRANGE', own, 0, 0)
redis.call('DEL', own)
try('SET', own, '', 'PX', 1)
redis.call('DEL', own)
return refused
