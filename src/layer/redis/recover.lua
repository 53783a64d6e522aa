-- Where a group stands, and what came after a position. KEYS: generation, numbering, log. ARGV:
-- generation known, ms kept, ms numbered, random part of a new epoch, epoch asked from (or empty),
-- offset asked from, field that counts doubts. Returns epoch, offset, '1' or '0' for recovered or not (or empty), then age in ms
-- and envelope of each publication missed; nothing if the generation is not the present one.
if not is_known(KEYS[1], ARGV[1]) then return {} end
local how = { numbering = KEYS[2], log = KEYS[3], random = ARGV[4], doubt = ARGV[7] }
local epoch, text, doubt = stand(ARGV[1], how)
redis.call('HSET', KEYS[2], 'epoch', epoch, 'offset', text, 'doubt', doubt)
-- Whoever is there keeps the numbering alive, also of a group in which nothing happens.
redis.call('PEXPIRE', KEYS[2], ARGV[3])
if ARGV[5] == '' then return { epoch, text, '' } end
local missed = tonumber(text) - tonumber(ARGV[6])
if ARGV[5] ~= epoch or missed < 0 then return { epoch, text, '0' } end
local answer = { epoch, text, '1' }
if missed == 0 then return answer end
local first = string.format('%.0f', tonumber(ARGV[6]) + 1)
local entries = redis.call('XRANGE', KEYS[3], first .. '-0', '+')
local now = now_ms()
if #entries ~= missed or now - tonumber(entries[1][2][2]) > tonumber(ARGV[2]) then
  return { epoch, text, '0' }
end
for _, entry in ipairs(entries) do
  answer[#answer + 1] = string.format('%.0f', math.max(now - tonumber(entry[2][2]), 0))
  answer[#answer + 1] = entry[2][4]
end
return answer
