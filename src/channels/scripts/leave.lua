-- Groups are not held here any more. ARGV: for each group five values: its key for senders (or empty),
-- the member, channel, key that says it is held, ms for which its history is good for somebody.
for at = 1, #ARGV, 5 do
  local key, member, channel, held, ms = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  if tonumber(redis.call('PUBSUB', 'NUMSUB', channel)[2]) == 0 then
    if ms ~= '0' then
      -- Who comes back in time is to find what is sent meanwhile. The member goes with the first
      -- entry that comes after that.
      redis.call('SET', held, '', 'PX', ms)
    else
      redis.call('DEL', held)
      if key ~= '' then redis.call('ZREM', key, member) end
    end
  end
end
return 0
