-- Commands behind a place. Returns '1' if some are no longer kept, the number from which they were
-- read, generation and number of the newest, then number, generation and envelope of each.
local generation_key, stream = KEYS[1], KEYS[2]
local generation, number = tonumber(ARGV[1]), tonumber(ARGV[2])
local most = ARGV[3]

local stored = redis.call('HGET', generation_key, 'commands') or ''
local newest_generation, newest, before = string.match(stored, '^(%d+) (%d+) (%d+)$')
if not newest then newest_generation, newest, before = '0', '0', '0' end
-- Data was lost since: numbers that the reader knows may have been given again.
if tonumber(newest_generation) > generation then number = math.min(number, tonumber(before)) end

local first = tonumber(newest) + 1
local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)
if oldest[1] then first = tonumber(string.match(oldest[1][1], '^%d+')) end
local missed = first > number + 1 and tonumber(newest) > number

local from = string.format('%.0f', number + 1)
local answer = { missed and '1' or '0', from, newest_generation, newest }
for _, entry in ipairs(redis.call('XRANGE', stream, from, '+', 'COUNT', most)) do
  local fields = entry[2]
  answer[#answer + 1] = string.match(entry[1], '^%d+')
  answer[#answer + 1] = fields[4] or ''
  answer[#answer + 1] = fields[8] or ''
end
return answer
