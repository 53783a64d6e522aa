-- The heartbeat of every instance, each second: checks that Redis is still the same server, records
-- this instance as live, sends a probe. Returns the generation, the instances that deliver, and a
-- list: the place of the newest command, the addresses of those that deliver, why writes that take
-- memory are refused (empty = they are not), then the term of this instance ('0' = none) and how
-- many instances do not read signed envelopes.
local generation_key = KEYS[1]
local instances_key = KEYS[2]
local addresses_key = KEYS[3]
local terms_key = KEYS[4]
local signatures_key = KEYS[5]

local instance = ARGV[1]
local known_generation = tonumber(ARGV[2])
local delivers = ARGV[3] == '1'
local probe_channel = ARGV[4]
local probe = ARGV[5]
-- Seconds that publications wait outside the layer while no instance runs; 0 = nothing waits.
local max_absence = tonumber(ARGV[6])
local control_channel = ARGV[7]
-- The envelope that announces possible losses of all groups.
local loss = ARGV[8]
local address = ARGV[9] -- of the API of this instance; empty = unknown
-- Whether this instance enters the groups that it listens to, see listening.lua.
local enters_groups = ARGV[10] == '1'

-- An instance that does not deliver is a member, too, under a different name.
local function member(of_delivering)
  return (of_delivering and '' or '-') .. instance
end

local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
-- A replica that may be written to would lose what it takes.
if string.find(redis.call('INFO', 'replication'), 'role:slave', 1, true) then
  return redis.error_reply('READONLY this server is a replica')
end
local stored = redis.call('HMGET', generation_key, 'run', 'n')
local time = redis.call('TIME')
local now = tonumber(time[1])
local newest = redis.call('ZREVRANGE', instances_key, 0, 0, 'WITHSCORES')
local absence = now - tonumber(newest[2] or 0)
local previous = redis.call('ZSCORE', instances_key, member(true))
  or redis.call('ZSCORE', instances_key, member(false))

-- As the first write it meets Redis' check of 'maxmemory'.
local trial = redis.pcall('HSET', generation_key, 'trial', '')
local refusal = type(trial) == 'table' and trial.err or ''

-- Then removals: they lift Redis' check of 'maxmemory' from the rest. Otherwise no instance
-- would count as present, and a full Redis would never be drained.
redis.call('ZREM', instances_key, member(not delivers))
redis.call('ZREMRANGEBYSCORE', instances_key, '-inf', now - math.max(60, max_absence + 60))
-- Redis' clock was set back, or another server took over: those that live are back in a second.
redis.call('ZREMRANGEBYSCORE', instances_key, now + MAX_SILENCE, '+inf')
redis.call('ZREMRANGEBYSCORE', addresses_key, now + MAX_SILENCE, '+inf')

local n = tonumber(stored[2] or 0)
local same_server = stored[1] == run_id
local data_lost = not stored[1]
local something_expired = max_absence > 0 and absence > max_absence
if not same_server or something_expired then
  n = math.max(n, known_generation) + 1
  -- Greater than any generation that was lost with the data, in microseconds: data may be lost
  -- twice in a second, and the second loss must be distinguishable from the first.
  if data_lost then n = math.max(n, time[1] * 1e6 + time[2]) end
  redis.call('HSET', generation_key, 'run', run_id, 'n', string.format('%.0f', n))
end

-- Present from its first heartbeat on, whether it delivers or not, so that its sources do not
-- expire.
redis.call('ZADD', instances_key, now, member(delivers))
redis.call('EXPIRE', instances_key, 120 + max_absence)

-- A term begins with the first heartbeat, and after a silence in which the instance did not count,
-- so that publications may have been parked for its groups. It listens to nothing before it has
-- entered its groups anew.
local function current_term()
  if not enters_groups then return '0' end
  local term = redis.call('ZSCORE', terms_key, instance)
  if not term or not previous or now - previous > MAX_SILENCE then
    for _, id in ipairs(redis.call('ZRANGE', terms_key, 0, -1)) do
      local known = redis.call('ZSCORE', instances_key, id)
        or redis.call('ZSCORE', instances_key, '-' .. id)
      if not known then redis.call('ZREM', terms_key, id) end
    end
    term = string.format('%.0f', time[1] * 1e6 + time[2])
    redis.call('ZADD', terms_key, term, instance)
  end
  redis.call('EXPIRE', terms_key, 120 + max_absence)
  return term
end
local term = current_term()

local delivering = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', instances_key, now - MAX_SILENCE, '+inf')) do
  if string.sub(id, 1, 1) ~= '-' then delivering[#delivering + 1] = id end
end
-- Publications that waited outside the layer were lost with the data. Nothing is drained or
-- numbered in the new generation before this script has begun it, so the announcement precedes
-- whatever follows the loss. A Redis that was empty from the start has lost nothing, and no other
-- instance listens to it.
if data_lost then
  local subscribers = tonumber(redis.call('PUBSUB', 'NUMSUB', control_channel)[2])
  if known_generation > 0 or subscribers > 1 then redis.call('PUBLISH', control_channel, loss) end
end
-- Arrives behind every command up to this one, so an instance that lacks it has lost it.
local newest_command = redis.call('HGET', generation_key, 'commands') or '0 0 0'
redis.call('PUBLISH', probe_channel, probe .. newest_command .. '\n')

-- For those that lose Redis: they ask there whether others still deliver.
if delivers and address ~= '' then
  redis.call('ZADD', addresses_key, now, instance .. ' ' .. address)
end
redis.call('ZREMRANGEBYSCORE', addresses_key, '-inf', '(' .. now - MAX_SILENCE)
redis.call('EXPIRE', addresses_key, 120)
local addresses = redis.call('ZRANGE', addresses_key, 0, -1)

-- Instances of a release that does not know signatures would discard what is signed.
redis.call('ZADD', signatures_key, now, instance)
redis.call('ZREMRANGEBYSCORE', signatures_key, '-inf', '(' .. now - 60)
redis.call('EXPIRE', signatures_key, 120)
local unaware = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', instances_key, now - 60, '+inf')) do
  -- One that does not deliver at present may do so again.
  local name = string.gsub(id, '^-', '')
  if not redis.call('ZSCORE', signatures_key, name) then unaware = unaware + 1 end
end
return { n, delivering, { newest_command, addresses, refusal, { term, unaware } } }
