-- Publishes one publication of a group without history, unless others are parked for its group.
-- KEYS: what is parked. ARGV: channel, envelope. Returns 1 if it was published, else 0: once.lua
-- then parks it behind them. Each word more would count: this is the price of every publication
-- that is sent alone.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
