-- Writes messages for Django's consumers, each to its mailbox. KEYS: the mailbox of each message.
-- Returns the last score written in microseconds, why a message was refused (or empty), then the
-- outcome of each message: 'sent', 'full' (the mailbox is at its capacity) or 'refused'.
local mailboxes = KEYS
local capacity = tonumber(ARGV[1])
local expiry = tonumber(ARGV[2]) -- seconds after which messages expire
local last_score = tonumber(ARGV[3]) -- microseconds, of this instance
local function message(index) return ARGV[3 + index] end

local time = redis.call('TIME')
local micros = time[1] * 1e6 + time[2]
local stale = time[1] - expiry

-- Messages with equal scores are read in the order of their random prefixes, so scores are unique.
-- A last score far ahead is from before a clock was set back.
if last_score >= micros and last_score < micros + 1e6 then micros = last_score + 1 end

local function write(mailbox, text)
  redis.call('ZREMRANGEBYSCORE', mailbox, 0, stale)
  if redis.call('ZCARD', mailbox) >= capacity then return 'full' end
  micros = micros + 1
  local score = string.format('%.0f.%06.0f', math.floor(micros / 1e6), micros % 1e6)
  redis.call('ZADD', mailbox, score, text)
  redis.call('EXPIRE', mailbox, expiry)
  return 'sent'
end

local answer = { '', '' }
for index, mailbox in ipairs(mailboxes) do
  local ok, outcome = pcall(write, mailbox, message(index))
  if not ok then
    answer[2] = type(outcome) == 'table' and outcome.err or tostring(outcome)
    outcome = 'refused'
  end
  answer[2 + index] = outcome
end
answer[1] = string.format('%.0f', micros)
return answer
