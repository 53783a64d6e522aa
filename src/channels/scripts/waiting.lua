-- How many listen to a channel.
local function listeners(channel)
  return tonumber(redis.call('PUBSUB', 'NUMSUB', channel)[2])
end

-- Sends what waits for somebody to listen, oldest first, each with the ms that it waited.
local function release(channel, waiting)
  local now = now_ms()
  for _, entry in ipairs(redis.call('LRANGE', waiting, 0, -1)) do
    local mark = string.find(entry, '\n', 1, true)
    local waited = math.max(now - tonumber(string.sub(entry, 1, mark - 1)), 0)
    redis.call('PUBLISH', channel, string.format('\3%.0f\n', waited) .. string.sub(entry, mark + 1))
  end
  redis.call('DEL', waiting)
end
