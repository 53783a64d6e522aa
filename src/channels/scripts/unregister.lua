-- Groups are not held here any more. KEYS: what the groups name by place. ARGV: a packed table for
-- each group:
--   registry, member   where senders look for it, and what they find there (nil = they do not)
--   held               the key that marks it as held
--   history_ms         for how long its history is of use to somebody (0 = it has none)
--   channel            where its publications go
local function unregister(group)
  local held = KEYS[group.held]
  if tonumber(redis.call('PUBSUB', 'NUMSUB', group.channel)[2]) > 0 then return end
  if group.history_ms > 0 then
    -- A client that reconnects in time must find what is sent meanwhile. The member is removed with
    -- the first entry after that.
    redis.call('SET', held, '', 'PX', group.history_ms)
    return
  end
  redis.call('DEL', held)
  if group.registry then redis.call('ZREM', KEYS[group.registry], group.member) end
end

for i = 1, #ARGV do unregister(cmsgpack.unpack(ARGV[i])) end
return 0
