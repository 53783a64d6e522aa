-- Publications that are parked until somebody listens to their group.

-- Subscribers of a channel.
local function listeners(channel)
  return tonumber(redis.call('PUBSUB', 'NUMSUB', channel)[2])
end

-- Appends a publication to those parked for a group, which all expire that many ms after the last.
local function park(parked, envelope, expiry_ms)
  redis.call('RPUSH', parked, string.format('%.0f\n', now_ms()) .. envelope)
  redis.call('PEXPIRE', parked, expiry_ms)
end

-- Publishes what is parked, oldest first, each with the ms that it waited.
local function release(channel, parked)
  local now = now_ms()
  for _, entry in ipairs(redis.call('LRANGE', parked, 0, -1)) do
    local mark = string.find(entry, '\n', 1, true)
    local waited = math.max(now - tonumber(string.sub(entry, 1, mark - 1)), 0)
    redis.call('PUBLISH', channel, string.format('\3%.0f\n', waited) .. string.sub(entry, mark + 1))
  end
  redis.call('DEL', parked)
end
