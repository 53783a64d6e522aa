-- Publications that are parked until an instance listens to their group.

-- Subscribers of a channel: instances. What PUBLISH returns counts those of patterns as well, such
-- as a monitoring tool's PSUBSCRIBE *.
local function listeners(channel)
  return tonumber(redis.call('PUBSUB', 'NUMSUB', channel)[2])
end

-- How long after they expired it is known that publications were parked, ms: clients that come back
-- later than a day do not expect to have missed nothing.
local REMEMBER_EXPIRED_MS = 24 * 3600 * 1000

-- Appends a publication to those parked for a group, which all expire that many ms after the last.
-- 'mark' outlives them.
local function park(parked, mark, envelope, expiry_ms)
  redis.call('RPUSH', parked, string.format('%.0f\n', now_ms()) .. envelope)
  redis.call('PEXPIRE', parked, expiry_ms)
  redis.call('SET', mark, '', 'PX', string.format('%.0f', expiry_ms + REMEMBER_EXPIRED_MS))
end

-- Whether publications were parked and have expired. To be asked once: the answer forgets them.
local function expired_unseen(parked, mark)
  return redis.call('EXISTS', parked) == 0 and redis.call('DEL', mark) == 1
end

-- Publishes what is parked, oldest first, each with the ms that it waited.
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
