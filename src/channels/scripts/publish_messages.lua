-- Publishes messages for consumers on the pub/sub layer. Instances of this cluster subscribe to the
-- same channels, so each message is announced to them immediately before; nothing comes in between.
-- ARGV: for each message a channel of the cluster, the announcement, a channel of the layer, the
-- message. Returns how many were published.
for at = 1, #ARGV, 4 do
  local own_channel, announcement = ARGV[at], ARGV[at + 1]
  local django_channel, message = ARGV[at + 2], ARGV[at + 3]
  redis.call('PUBLISH', own_channel, announcement)
  redis.call('PUBLISH', django_channel, message)
end
return #ARGV / 4
