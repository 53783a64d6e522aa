-- Groups are held: senders find them, and what waited for a listener is sent. ARGV: seconds after which
-- senders forget a member, control channel, '1' if the groups were held before and their members
-- expected; then for each group nine values: its key for senders (empty = they are not to find it),
-- the member, channel, key that says it is held and for how many ms, key of what waits, keys of its
-- history (empty = none), and what is to be said if senders did not find it although they should have.
-- Returns how many those were.
local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', time[2])
local missing = 0
for at = 4, #ARGV, 9 do
  local key, member, channel, held, ms = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local waiting, numbering, log, unheard = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7], ARGV[at + 8]
  local lately = redis.call('EXISTS', held) == 1
  -- Takes no memory, and lifts the check of 'maxmemory' from what follows: a group that is not found
  -- when Redis is full would not be found afterwards either.
  redis.call('PEXPIRE', held, ms)
  redis.call('SET', held, '', 'PX', ms)
  if key ~= '' then
    local added = redis.call('ZADD', key, 'GT', now, member)
    redis.call('EXPIRE', key, ARGV[1])
    if added == 1 then
      -- What was sent meanwhile is nowhere: positions from before are worth nothing.
      if numbering ~= '' then redis.call('DEL', numbering, log) end
      if lately or ARGV[3] == '1' then
        missing = missing + 1
        redis.call('PUBLISH', ARGV[2], unheard)
      end
    end
  end
  -- A refresh may come while the subscription of whoever refreshes is lost.
  if redis.call('EXISTS', waiting) == 1 and listeners(channel) > 0 then release(channel, waiting) end
end
return missing
