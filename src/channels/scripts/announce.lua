-- Publishes messages for consumers on the pub/sub layer. This cluster's instances hear them as well, so
-- each stands right behind a word to them; nothing comes between the two. ARGV: for each message a
-- channel of the cluster, the word, a channel of the layer, the message.
for at = 1, #ARGV, 4 do
  redis.call('PUBLISH', ARGV[at], ARGV[at + 1])
  redis.call('PUBLISH', ARGV[at + 2], ARGV[at + 3])
end
return #ARGV / 4
