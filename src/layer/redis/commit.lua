-- Numbers, keeps and sends one publication. KEYS: generation, numbering, log. ARGV: generation known,
-- publications kept, ms kept, ms numbered, random part of a new epoch, channel, envelope. Returns
-- epoch and offset, or nothing if the generation is not the present one.
local known = redis.call('HMGET', KEYS[1], 'run', 'n')
-- Asked here and not only by the beat: an offset given by a server that has just taken over with old
-- data must not look like one given before.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if known[1] ~= run or known[2] ~= ARGV[1] then return {} end
local numbering = redis.call('HMGET', KEYS[2], 'epoch', 'offset')
local epoch, offset = numbering[1], tonumber(numbering[2] or 0)
if not epoch or string.match(epoch, '^%d+') ~= ARGV[1] then
  epoch, offset = ARGV[1] .. '.' .. ARGV[5], 0
  redis.call('DEL', KEYS[3])
end
offset = offset + 1
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text = string.format('%.0f', offset)
redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[2], text .. '-0', 't', string.format('%.0f', now), 'e', ARGV[7])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
redis.call('HSET', KEYS[2], 'epoch', epoch, 'offset', text)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', ARGV[6], '\2' .. epoch .. ' ' .. text .. '\n' .. ARGV[7])
return { epoch, text }
