-- Unregisters groups that are no longer held here. KEYS: the keys that groups refer to by index.
-- ARGV: the id of this instance, then a packed table for each group:
--   registry, member   where senders look for it, and what they find there (nil = nothing)
--   listeners          the instances that listen to it
--   held               the key that marks it as held, see register.lua
--   numbering          of its history, if it has one
--   named              whether anybody but a client chose its name
--   history_ms         how long clients can still use its history (0 = it has none)
--   channel            the channel of its publications
-- Returns for each -1, it is still held, or for how many ms senders should find it (0 = no more).
local instance = ARGV[1]
local FIRST_GROUP = 2

-- How long a name that only clients chose, and that nothing was published to, stays registered.
local CHOSEN_MS = 60 * 1000

local function unregister(group)
  local held = KEYS[group.held]
  redis.call('ZREM', KEYS[group.listeners], instance)
  -- A stopped instance counts as well: it may continue.
  if tonumber(redis.call('PUBSUB', 'NUMSUB', group.channel)[2]) > 0 then return -1 end
  if group.history_ms > 0 then
    -- A client that reconnects in time must find what was sent in the meantime.
    local stays_ms = group.history_ms
    local named = group.named or string.find(redis.call('GET', held) or '', ' named', 1, true)
    if not named and redis.call('EXISTS', KEYS[group.numbering]) == 0 then
      stays_ms = math.min(stays_ms, CHOSEN_MS)
    end
    redis.call('PEXPIRE', held, stays_ms)
    -- The key of senders would stay for a day. Shared with others, it stays for as long as they
    -- need it; then the first entry that finds no listener removes the member.
    if group.registry and redis.call('ZCARD', KEYS[group.registry]) == 1
      and redis.call('ZSCORE', KEYS[group.registry], group.member) then
      redis.call('PEXPIRE', KEYS[group.registry], stays_ms + 1000)
    end
    return stays_ms
  end
  redis.call('DEL', held)
  if group.registry then redis.call('ZREM', KEYS[group.registry], group.member) end
  return 0
end

local outcomes = {}
for i = FIRST_GROUP, #ARGV do
  outcomes[#outcomes + 1] = unregister(cmsgpack.unpack(ARGV[i]))
end
return outcomes
