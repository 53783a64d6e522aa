-- Whether Redis allows what draining needs, tried without changing anything: the only key written
-- is deleted again. Returns pairs of a command and why it was refused.
local mailbox = KEYS[1]
local registry = KEYS[2] -- of a group that no instance holds
local stream = KEYS[3]
local trial = KEYS[4]
local channel = ARGV[3]
local drains_mailboxes = ARGV[1] == '1'
local drains_stream = ARGV[2] == '1'
local is_layer = ARGV[4] == '1' -- whether entries are published on this server

local refused = {}
local function try(...)
  local outcome = redis.pcall(...)
  if type(outcome) == 'table' and outcome.err then
    refused[#refused + 1] = (...)
    refused[#refused + 1] = outcome.err
  end
end

-- First a write that takes no memory: it lifts the check of 'maxmemory', so that a full Redis can
-- be drained.
redis.pcall('DEL', trial)
if drains_mailboxes then
  try('ZCARD', mailbox)
  try('ZRANGE', mailbox, 0, 0)
  try('ZREM', mailbox, '')
  try('ZSCORE', mailbox, '')
  try('ZADD', registry, 'XX', 'GT', 0, '')
  try('ZREM', registry, '')
  try('EXPIRE', registry, 1)
end
if drains_stream then
  try('XLEN', stream)
  try('XRANGE', stream, '-', '+', 'COUNT', 1)
  try('XDEL', stream, '0-0')
end
if not is_layer then return refused end
try('PUBSUB', 'NUMSUB', channel)
try('PUBLISH', channel, '\3')
try('RPUSH', trial, '')
try('LLEN', trial)
try('LRANGE', trial, 0, 0)
try('PEXPIRE', trial, 1)
try('EXISTS', trial)
try('DEL', trial)
try('SET', trial, '', 'PX', 1)
return refused
