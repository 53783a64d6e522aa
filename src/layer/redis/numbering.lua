-- Functions of the scripts that number publications; this text precedes each of them.

-- Whether Redis is the server and holds the data that the caller knows. Every script asks, not only
-- the heartbeat: a server that has just taken over with old data must not give out an offset twice.
local function is_current_generation(generation_key, generation)
  local stored = redis.call('HMGET', generation_key, 'run', 'n')
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  return stored[1] == run_id and stored[2] == generation
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The position of a group. 'history' is a table of
--   generation_key, numbering, log   keys
--   overflow_field                   the field of the generation that counts how often the group's
--                                    share was found full; empty = no share can be
--   random                           the random part of an epoch that begins now
-- Returns epoch, offset and that count, all texts, and whether they are stored. An epoch ends with
-- its generation, and when the count changes: publications that were never received must not look
-- as if there were none.
local function read_position(generation, history)
  local overflows = '0'
  if history.overflow_field ~= '' then
    overflows = redis.call('HGET', history.generation_key, history.overflow_field) or '0'
  end
  local stored = redis.call('HMGET', history.numbering, 'epoch', 'offset', 'doubt')
  local epoch, offset, counted = stored[1], stored[2], stored[3] or '0'
  local is_stored = epoch and string.match(epoch, '^%d+') == generation and counted == overflows
  if not is_stored then epoch, offset = generation .. '.' .. history.random, '0' end
  return epoch, offset, overflows, is_stored
end

-- The history of a packed table, whose numbering and log are places in KEYS.
local function history_of(packed, generation_key, random)
  packed.numbering, packed.log = KEYS[packed.numbering], KEYS[packed.log]
  packed.generation_key, packed.random = generation_key, random
  return packed
end

-- Numbers, keeps and publishes one publication. 'history' has besides
--   size         publications kept
--   log_ms       how long they are kept
--   numbering_ms how long their numbering is kept
-- Returns epoch and offset. Everything that can fail does so before the first write,
-- except for missing rights.
local function append_and_publish(generation, history, channel, envelope)
  local epoch, offset, overflows, is_stored = read_position(generation, history)
  if not is_stored then
    -- Of an earlier epoch. Another program's key is not deleted: this fails before.
    redis.call('XLEN', history.log)
    redis.call('DEL', history.log)
  end
  local next_offset = string.format('%.0f', tonumber(offset) + 1)
  local now = string.format('%.0f', now_ms())
  local id = next_offset .. '-0'
  redis.call('XADD', history.log, 'MAXLEN', history.size, id, 't', now, 'e', envelope)
  redis.call('PEXPIRE', history.log, history.log_ms)
  redis.call('HSET', history.numbering, 'epoch', epoch, 'offset', next_offset, 'doubt', overflows)
  if not is_stored then
    redis.call('HSET', history.numbering, 'began', redis.call('TIME')[1])
  end
  redis.call('PEXPIRE', history.numbering, history.numbering_ms)
  local positioned = '\2' .. epoch .. ' ' .. next_offset .. '\n' .. envelope
  redis.call('PUBLISH', channel, positioned)
  return epoch, next_offset
end
