-- What scripts that number publications share; it stands before each of them.

-- Whether Redis is the one that is known. Asked by every script and not only by the beat: an offset
-- given by a server that has just taken over with old data must not look like one given before.
local function is_known(key, generation)
  local known = redis.call('HMGET', key, 'run', 'n')
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  return known[1] == run and known[2] == generation
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Where a group stands. 'how' holds the keys numbering and log, the random part of a new epoch (random),
-- and the field of the generation that counts how often its senders may have been turned away (doubt;
-- empty = there are none). Returns epoch, offset as text, and that count. An epoch ends with a generation
-- and with such a doubt: what is missing then is nowhere, and must not look like nothing.
local function stand(generation, how)
  local doubt = how.doubt ~= '' and redis.call('HGET', KEYS[1], how.doubt) or '0'
  local numbering = redis.call('HMGET', how.numbering, 'epoch', 'offset', 'doubt')
  local epoch, offset = numbering[1], numbering[2]
  if not epoch or string.match(epoch, '^%d+') ~= generation or (numbering[3] or '0') ~= doubt then
    epoch, offset = generation .. '.' .. how.random, '0'
    redis.call('DEL', how.log)
  end
  return epoch, offset, doubt
end

-- Numbers, keeps and sends one publication. 'how' holds besides the publications kept (size), and the ms
-- for which they (kept) and their numbering (numbered) are. Returns epoch and offset, both texts.
-- Whatever can fail fails before anything is written, but for want of rights.
local function keep(generation, how, channel, envelope)
  local epoch, offset, doubt = stand(generation, how)
  local text = string.format('%.0f', tonumber(offset) + 1)
  local now = string.format('%.0f', now_ms())
  redis.call('XADD', how.log, 'MAXLEN', how.size, text .. '-0', 't', now, 'e', envelope)
  redis.call('PEXPIRE', how.log, how.kept)
  redis.call('HSET', how.numbering, 'epoch', epoch, 'offset', text, 'doubt', doubt)
  redis.call('PEXPIRE', how.numbering, how.numbered)
  local heard = redis.call('PUBLISH', channel, '\2' .. epoch .. ' ' .. text .. '\n' .. envelope)
  return epoch, text, heard
end
