-- Ends listening to groups: what is drained for them from now on waits for another instance,
-- although this one is subscribed until it has unsubscribed. KEYS: the listeners of each group.
-- ARGV: the id of this instance.
for _, listeners in ipairs(KEYS) do redis.call('ZREM', listeners, ARGV[1]) end
return 0
