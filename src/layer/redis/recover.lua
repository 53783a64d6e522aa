-- The position of a group, and the publications after an earlier one. Returns epoch and offset; '1'
-- or '0' for recovered or not, empty if no position was given; then age in ms and envelope of each
-- missed publication. Nothing if the generation has changed.
local generation_key = KEYS[1]
local history = {
  generation_key = generation_key,
  numbering = KEYS[2],
  log = KEYS[3],
  random = ARGV[4],
  overflow_field = ARGV[5],
}
local generation = ARGV[1]
local log_ms = tonumber(ARGV[2])
local numbering_ms = ARGV[3]
-- Empty = no position was given.
local since_epoch = ARGV[6]
local since_offset = tonumber(ARGV[7])

if not is_current_generation(generation_key, generation) then return {} end
local epoch, offset, overflows = read_position(generation, history)
redis.call('HSET', history.numbering, 'epoch', epoch, 'offset', offset, 'doubt', overflows)
-- Joining keeps the numbering alive, also that of a group without publications.
redis.call('PEXPIRE', history.numbering, numbering_ms)
if since_epoch == '' then return { epoch, offset, '' } end

local not_recovered = { epoch, offset, '0' }
local missed = tonumber(offset) - since_offset
if since_epoch ~= epoch or missed < 0 then return not_recovered end
local answer = { epoch, offset, '1' }
if missed == 0 then return answer end

local first = string.format('%.0f', since_offset + 1)
local entries = redis.call('XRANGE', history.log, first .. '-0', '+')
local now = now_ms()
local function accepted_at(entry) return tonumber(entry[2][2]) end
if #entries ~= missed or now - accepted_at(entries[1]) > log_ms then return not_recovered end
for _, entry in ipairs(entries) do
  answer[#answer + 1] = string.format('%.0f', math.max(now - accepted_at(entry), 0))
  answer[#answer + 1] = entry[2][4]
end
return answer
