-- Registers groups that are held here, so that senders find them, and publishes what is parked for
-- them. Returns the number of groups whose registration was missing although it was expected, and
-- the places of the groups with a registry elsewhere that were held before.
-- KEYS: instances, terms, parking (see listening.lua and parking.lua), then the keys that groups
-- refer to by index. ARGV: see below, then a packed table per group:
--   registry, member   where senders look for it, and what they find there (nil = nothing)
--   is_elsewhere       whether they look on another server (nil = no)
--   held, held_ms      the key that marks it as held, and for how long. Its value is the second
--                      since which senders find the group without a break, then ' named' if
--                      anybody but a client chose its name
--   named              whether it was somebody else here
--   numbering, log     its history (nil = it has none)
--   listeners          the instances that listen to it
--   term               of this instance, which listens to it from now on (nil = it does not, or
--                      has none)
--   parked, parked_mark   publications parked for it, and a mark that outlives them
--   channel            the channel of its publications
--   loss               the envelope that announces possible losses of the group
--   mailbox, mark      where senders write events for it, and the entry that announces possible
--                      losses there
local member_expiry = ARGV[1] -- seconds after which senders forget a member
local control = ARGV[2] -- channel
local expected = ARGV[3] == '1' -- whether members should be there already
local instance_stem = ARGV[4] -- of the channels of instances
local instance = ARGV[5]
local FIRST_GROUP = 6

local receiving = receiving_instances(KEYS[1], KEYS[2], instance_stem)

local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', time[2])
local missing = 0
local held_before = {}

-- Placed after what senders have already written: they still found the group then.
local function announce_loss(group)
  local mailbox = KEYS[group.mailbox]
  local newest = redis.call('ZRANGE', mailbox, -1, -1, 'WITHSCORES')
  if newest[2] then
    redis.call('ZADD', mailbox, string.format('%.17g', newest[2] + 0.000001), group.mark)
  else
    redis.call('PUBLISH', control, group.loss)
  end
end

local function register(group, place)
  local held = KEYS[group.held]
  local listeners = KEYS[group.listeners]
  local known = redis.call('GET', held)
  local was_held = known and true or false
  known = known or ''
  -- Takes no memory, and lifts the check of 'maxmemory' from what follows: without it, a group
  -- could not be registered while Redis is full.
  redis.call('PEXPIRE', held, group.held_ms)
  local suffix = (group.named or string.find(known, ' named', 1, true)) and ' named' or ''
  local since = string.match(known, '^%d+') or time[1]
  redis.call('SET', held, since .. suffix, 'PX', group.held_ms)
  if group.term then
    redis.call('ZADD', listeners, group.term, instance)
    redis.call('PEXPIRE', listeners, group.held_ms)
  end
  if group.registry then
    local registry = KEYS[group.registry]
    local added = redis.call('ZADD', registry, 'GT', now, group.member)
    redis.call('EXPIRE', registry, member_expiry)
    if added == 1 then
      -- Events sent in the meantime are lost, so earlier positions become invalid.
      if group.numbering then redis.call('DEL', KEYS[group.numbering], KEYS[group.log]) end
      if was_held or expected then
        missing = missing + 1
        announce_loss(group)
        -- A position of this second may be older.
        local from_now = string.format('%.0f', time[1] + 1)
        redis.call('SET', held, from_now .. suffix, 'PX', group.held_ms)
      end
    end
  elseif group.is_elsewhere and was_held then
    held_before[#held_before + 1] = place
  elseif group.is_elsewhere and group.numbering then
    -- Senders may not have found it since: as above.
    redis.call('DEL', KEYS[group.numbering], KEYS[group.log])
  end
  -- During a refresh this instance's own subscription may be lost, or its term may be over.
  if is_listened_to(receiving, group.channel, listeners) then
    local parked = {
      parking = KEYS[3], channel = group.channel,
      parked = KEYS[group.parked], mark = KEYS[group.parked_mark],
    }
    if expired_unseen(parked) then
      redis.call('PUBLISH', control, group.loss)
    elseif redis.call('EXISTS', parked.parked) == 1 then
      release(parked)
    end
  end
end

for i = FIRST_GROUP, #ARGV do register(cmsgpack.unpack(ARGV[i]), i - FIRST_GROUP) end
return { missing, held_before }
