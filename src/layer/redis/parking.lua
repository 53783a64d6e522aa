-- Functions that park publications until an instance listens to their group. 'parking' is a set of
-- the channels for which something is parked, with the ms at which it expires.

-- How long it is remembered that publications were parked and expired, ms: clients that return
-- after more than a day do not expect to find everything.
local REMEMBER_EXPIRED_MS = 24 * 3600 * 1000

-- Parks a publication for a group. All of a group's expire together, expiry_ms after the last was
-- parked; 'mark' outlives them.
local function park(group, envelope, expiry_ms)
  local now = now_ms()
  redis.call('RPUSH', group.parked, string.format('%.0f\n', now) .. envelope)
  redis.call('PEXPIRE', group.parked, expiry_ms)
  redis.call('SET', group.mark, '', 'PX', string.format('%.0f', expiry_ms + REMEMBER_EXPIRED_MS))
  redis.call('ZADD', group.parking, string.format('%.0f', now + expiry_ms), group.channel)
  -- Groups whose parked publications have expired.
  redis.call('ZREMRANGEBYSCORE', group.parking, '-inf', string.format('(%.0f', now))
  redis.call('PEXPIRE', group.parking, expiry_ms)
end

-- Parks a publication behind those that are parked for its group, so that it does not overtake
-- them. Returns whether there are any; an error if there are too many.
local function park_behind(group, envelope, max_parked, expiry_ms)
  if redis.call('EXISTS', group.parked) == 0 then return false end
  if redis.call('LLEN', group.parked) >= max_parked then
    error({ err = 'FULL too many publications wait for a listener of this group' })
  end
  park(group, envelope, expiry_ms)
  return true
end

-- Whether publications were parked and have expired. Reported once: the call removes the mark.
local function expired_unseen(group)
  return redis.call('EXISTS', group.parked) == 0 and redis.call('DEL', group.mark) == 1
end

-- Publishes parked publications, oldest first, each with the ms that it waited.
local function release(group)
  local now = now_ms()
  for _, entry in ipairs(redis.call('LRANGE', group.parked, 0, -1)) do
    local newline = string.find(entry, '\n', 1, true)
    local waited = math.max(now - tonumber(string.sub(entry, 1, newline - 1)), 0)
    local envelope = string.sub(entry, newline + 1)
    redis.call('PUBLISH', group.channel, string.format('\3%.0f\n', waited) .. envelope)
  end
  redis.call('DEL', group.parked, group.mark)
  redis.call('ZREM', group.parking, group.channel)
end
