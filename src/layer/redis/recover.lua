-- The positions of several groups, and the publications after earlier ones. KEYS: the generation,
-- then numbering and log of each group. ARGV: generation, random part of new epochs, the weight of
-- replays after which no further group is answered; then for each group five values, see 'recover'.
-- Returns nothing if the generation has changed; otherwise a list for each of the first groups, as
-- many as the weight allows, or with only an error for a group that failed.
local generation_key = KEYS[1]
local generation = ARGV[1]
local random = ARGV[2]
local max_weight = tonumber(ARGV[3])
local group_count = (#KEYS - 1) / 2
local first_group, values_of_group = 4, 5

if not is_current_generation(generation_key, generation) then return {} end

local now = now_ms()
-- Of the replays so far: bytes, and the time that groups and entries take, as bytes that take as
-- long.
local weight = 0
local weight_of_replay, weight_of_entry = 1024, 256

-- Appends to 'answer' age in ms and envelope of each publication after 'since_offset'. Returns
-- whether all of them are kept.
local function replay(answer, log, log_ms, since_offset, missed)
  local first = string.format('%.0f', since_offset + 1)
  local entries = redis.call('XRANGE', log, first .. '-0', '+')
  weight = weight + weight_of_replay + weight_of_entry * #entries
  -- What another program has added there is not readable, which the caller finds out.
  local function accepted_at(entry) return tonumber(entry[2][2]) or now end
  if #entries ~= missed or now - accepted_at(entries[1]) > log_ms then return false end
  for _, entry in ipairs(entries) do
    local envelope = entry[2][4] or ''
    weight = weight + #envelope
    answer[#answer + 1] = string.format('%.0f', math.max(now - accepted_at(entry), 0))
    answer[#answer + 1] = envelope
  end
  return true
end

-- Returns epoch and offset; '1' or '0' for recovered or not, empty if no position was given; then
-- what 'replay' appends.
local function recover(number)
  local at = first_group + values_of_group * (number - 1)
  local log_ms, numbering_ms = tonumber(ARGV[at]), ARGV[at + 1]
  -- Empty = no position was given.
  local since_epoch, since_offset = ARGV[at + 3], tonumber(ARGV[at + 4])
  local history = {
    generation_key = generation_key,
    numbering = KEYS[2 * number],
    log = KEYS[2 * number + 1],
    random = random,
    overflow_field = ARGV[at + 2],
  }
  local epoch, offset, overflows, is_stored = read_position(generation, history)
  -- Written only if it is new: while Redis is full, a write would refuse the join.
  if not is_stored then
    redis.call('HSET', history.numbering, 'epoch', epoch, 'offset', offset, 'doubt', overflows)
  end
  -- Joining keeps the numbering alive, also that of a group without publications.
  redis.call('PEXPIRE', history.numbering, numbering_ms)
  if since_epoch == '' then return { epoch, offset, '' } end

  local missed = tonumber(offset) - since_offset
  if since_epoch ~= epoch or missed < 0 then return { epoch, offset, '0' } end
  local answer = { epoch, offset, '1' }
  if missed > 0 and not replay(answer, history.log, log_ms, since_offset, missed) then
    return { epoch, offset, '0' }
  end
  return answer
end

local answers = {}
for number = 1, group_count do
  if weight > max_weight then break end
  local ok, answer = pcall(recover, number)
  answers[number] = ok and answer or { type(answer) == 'table' and answer.err or tostring(answer) }
end
return answers
