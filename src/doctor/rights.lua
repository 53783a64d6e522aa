-- Tests the commands of all scripts: on a key of its own, which is deleted at the end, and on the
-- others without changing anything. ARGV: that key, generation, instances, ingress stream, a
-- mailbox, an unused group, an unused channel, '1' if mailboxes are drained, '1' if the ingress is,
-- '1' if it is the layer's server.
-- No KEYS: a refused one would refuse the whole script without naming the command. Returns pairs of
-- a command with its key and why it failed.
local own, generation, instances, ingress, mailbox, group, channel = unpack(ARGV, 1, 7)
local core, drains_ingress = ARGV[8] == '1', ARGV[9] == '1'
local is_layer = ARGV[10] == '1'
local refused = {}

local function try(...)
  local outcome = redis.pcall(...)
  if type(outcome) ~= 'table' or not outcome.err then return true end
  local command, key = ...
  refused[#refused + 1] = key and command .. ' ' .. key or command
  refused[#refused + 1] = outcome.err
  return false
end

try('INFO', 'server')
try('TIME')
try('HMGET', generation, 'run', 'n')
try('HGET', generation, 'run')
try('ZREVRANGE', instances, 0, 0, 'WITHSCORES')
try('ZRANGE', instances, 0, 0)
if is_layer then
  try('ZRANGEBYSCORE', instances, '+inf', '+inf')
  try('EXISTS', own)
  try('PUBSUB', 'NUMSUB', channel)
  try('PUBLISH', channel, '')
end
if core then
  try('ZCARD', mailbox)
  try('ZRANGE', mailbox, 0, 0)
  try('ZREM', mailbox, '')
  try('ZSCORE', mailbox, '')
  try('ZADD', group, 'XX', 'GT', 0, '')
  try('ZREM', group, '')
  try('EXPIRE', group, 1)
end
if drains_ingress then
  try('XLEN', ingress)
  try('XRANGE', ingress, '-', '+', 'COUNT', 1)
  try('XDEL', ingress, '0-0')
end
-- Nothing is written that could not be removed.
if not try('DEL', own) then return refused end
try('HSET', own, 'run', '')
if is_layer then
  try('HSETNX', own, 'boxes', '')
  try('HINCRBY', own, 'doubt0', 1)
  try('HLEN', own)
end
try('HDEL', own, '')
redis.call('DEL', own)
try('ZADD', own, 0, '')
try('ZREM', own, '')
try('ZREMRANGEBYSCORE', own, '-inf', 0)
try('EXPIRE', own, 1)
try('PEXPIRE', own, 1)
redis.call('DEL', own)
if not is_layer then return refused end
try('XADD', own, 'MAXLEN', 1, '1-0', 't', '')
try('PEXPIRE', own, 1)
try('XRANGE', own, '-', '+')
redis.call('DEL', own)
try('RPUSH', own, '')
try('LLEN', own)
try('LRANGE', own, 0, 0)
try('LPOP', own, 1)
redis.call('DEL', own)
try('SET', own, '', 'PX', 1)
try('GET', own)
redis.call('DEL', own)
return refused
