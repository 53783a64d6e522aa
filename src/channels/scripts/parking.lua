-- Functions that park publications until an instance listens to their group.

-- The number of instances that subscribe to a channel. The result of PUBLISH also counts pattern
-- subscriptions, such as a monitoring tool's PSUBSCRIBE *.
local function listeners(channel)
  return tonumber(redis.call('PUBSUB', 'NUMSUB', channel)[2])
end

-- How long it is remembered that publications were parked and expired, ms: clients that return
-- after more than a day do not expect to find everything.
local REMEMBER_EXPIRED_MS = 24 * 3600 * 1000

-- Parks a publication for a group. All of a group's expire together, expiry_ms after the last was
-- parked; 'mark' outlives them.
local function park(parked, mark, envelope, expiry_ms)
  redis.call('RPUSH', parked, string.format('%.0f\n', now_ms()) .. envelope)
  redis.call('PEXPIRE', parked, expiry_ms)
  redis.call('SET', mark, '', 'PX', string.format('%.0f', expiry_ms + REMEMBER_EXPIRED_MS))
end

-- Whether publications were parked and have expired. Reported once: the call removes the mark.
local function expired_unseen(parked, mark)
  return redis.call('EXISTS', parked) == 0 and redis.call('DEL', mark) == 1
end

-- Publishes parked publications, oldest first, each with the ms that it waited.
local function release(channel, parked, mark)
  local now = now_ms()
  for _, entry in ipairs(redis.call('LRANGE', parked, 0, -1)) do
    local newline = string.find(entry, '\n', 1, true)
    local waited = math.max(now - tonumber(string.sub(entry, 1, newline - 1)), 0)
    local envelope = string.sub(entry, newline + 1)
    redis.call('PUBLISH', channel, string.format('\3%.0f\n', waited) .. envelope)
  end
  redis.call('DEL', parked, mark)
end
