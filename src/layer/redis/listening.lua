-- Functions that tell whether an instance listens to a group.

-- Seconds after its latest heartbeat in which an instance counts.
local MAX_SILENCE = 4

-- The instances that receive at present: their latest heartbeat is recent, and their own channel
-- has a subscriber. One whose probes are late counts, since it delivers what its connection holds.
-- Returns a table of
--   terms      the term of each, by id: it listens to the groups that it has entered in this term
--   untermed   whether one of them has none, since it enters no groups or is of an older release
--   none       whether there are none
local function receiving_instances(instances_key, terms_key, channel_stem)
  local now = tonumber(redis.call('TIME')[1])
  local ids, channels = {}, {}
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', instances_key, now - MAX_SILENCE, '+inf')) do
    local id = string.gsub(member, '^-', '')
    ids[#ids + 1] = id
    channels[#channels + 1] = channel_stem .. id
  end
  local receiving = { terms = {}, untermed = false, none = true }
  local subscribers = redis.call('PUBSUB', 'NUMSUB', unpack(channels))
  for index, id in ipairs(ids) do
    if subscribers[2 * index] > 0 then
      local term = redis.call('ZSCORE', terms_key, id)
      receiving.none = false
      if term then receiving.terms[id] = term else receiving.untermed = true end
    end
  end
  return receiving
end

-- Whether one of the instances receives the publications of a group. A subscription alone proves
-- nothing: it may be a stopped instance's, or another program's. PUBLISH would count pattern
-- subscriptions as well, such as a monitoring tool's PSUBSCRIBE *.
local function is_listened_to(receiving, channel, listeners_key)
  if redis.call('PUBSUB', 'NUMSUB', channel)[2] == 0 then return false end
  if receiving.untermed then return true end
  local entered = redis.call('ZRANGE', listeners_key, 0, -1, 'WITHSCORES')
  for at = 1, #entered, 2 do
    if receiving.terms[entered[at]] == entered[at + 1] then return true end
  end
  return false
end
