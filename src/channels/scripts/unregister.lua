-- Unregisters groups that are no longer held here. KEYS: the keys that groups refer to by index.
-- ARGV: the id of this instance, then a packed table for each group:
--   registry, member   where senders look for it, and what they find there (nil = nothing)
--   listeners          the instances that listen to it
--   held               the key that marks it as held
--   history_ms         how long clients can still use its history (0 = it has none)
--   channel            the channel of its publications
local instance = ARGV[1]
local FIRST_GROUP = 2

local function unregister(group)
  local held = KEYS[group.held]
  redis.call('ZREM', KEYS[group.listeners], instance)
  -- A stopped instance counts as well: it may continue.
  if tonumber(redis.call('PUBSUB', 'NUMSUB', group.channel)[2]) > 0 then return end
  if group.history_ms > 0 then
    -- A client that reconnects in time must find what was sent in the meantime. The member is
    -- removed when the first entry after that is drained.
    redis.call('SET', held, '', 'PX', group.history_ms)
    return
  end
  redis.call('DEL', held)
  if group.registry then redis.call('ZREM', KEYS[group.registry], group.member) end
end

for i = FIRST_GROUP, #ARGV do unregister(cmsgpack.unpack(ARGV[i])) end
return 0
