-- Writes messages for consumers of Django. KEYS: the mailbox of each message. ARGV: entries at which a
-- mailbox is full, seconds that they wait, microseconds of the last score that this instance wrote; then
-- the messages. Returns a letter for each (s sent, f the mailbox is full, e refused), the microseconds
-- of the last score, and why something was refused.
local time = redis.call('TIME')
local capacity, expiry, micros = tonumber(ARGV[1]), tonumber(ARGV[2]), time[1] * 1e6 + time[2]
local stale = time[1] - expiry

-- Messages of one score are read in the order of their random beginnings, so no two have the same. A
-- last score of long hence is from before a clock was set back.
local last = tonumber(ARGV[3])
if last >= micros and last < micros + 1e6 then micros = last + 1 end

local function write(box, message)
  redis.call('ZREMRANGEBYSCORE', box, 0, stale)
  if redis.call('ZCARD', box) >= capacity then return 'f' end
  micros = micros + 1
  local score = string.format('%.0f.%06.0f', math.floor(micros / 1e6), micros % 1e6)
  redis.call('ZADD', box, score, message)
  redis.call('EXPIRE', box, expiry)
  return 's'
end

local letters, cause = {}, ''
for i, box in ipairs(KEYS) do
  local well, outcome = pcall(write, box, ARGV[3 + i])
  if not well then
    cause = type(outcome) == 'table' and outcome.err or tostring(outcome)
    outcome = 'e'
  end
  letters[i] = outcome
end
return { table.concat(letters), string.format('%.0f', micros), cause }
