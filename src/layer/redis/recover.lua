-- The positions of several groups, and the publications after earlier ones. KEYS: the generation,
-- then what questions name by place. ARGV: generation, whether this instance holds groups (1 or 0),
-- the weight of replays after which no further group is answered; then for each group a question,
-- a packed table:
--   numbering, log, log_ms, numbering_ms, overflow_field   see numbering.lua
--   held                  marks the group as held
--   epoch, offset         the position from which to recover, texts (nil = none)
-- Returns nothing if the generation has changed; otherwise a list for each of the first groups, as
-- many as the weight allows, or with only an error for a group that failed.
local generation_key = KEYS[1]
local generation = ARGV[1]
local holds_groups = ARGV[2] == '1'
local max_weight = tonumber(ARGV[3])
local FIRST_QUESTION = 4

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

-- Where nothing was published there is no numbering, and none is stored: names that clients choose
-- would stay for a day. The epoch is then '<generation>.0.<second>'. Returns the first second since
-- which whatever was published has been numbered; nil = none. 'history' has besides
--   held           marks the group as held; its value begins with the second since which senders
--                  have found the group without a break
--   numbering_ms   how long a numbering is kept
local function complete_since(history)
  local second = 0
  if history.overflow_field ~= '' then
    local at = redis.call('HGET', generation_key, history.overflow_field .. ' at')
    second = at and tonumber(at) + 1 or 0
  end
  if not holds_groups then return second end
  local held = tonumber(string.match(redis.call('GET', history.held) or '', '^%d+'))
  return held and math.max(second, held)
end

local function epoch_before_any(history)
  local second = math.max(math.floor(now / 1000), complete_since(history) or 0)
  return string.format('%s.0.%.0f', generation, second)
end

-- Whether this is such an epoch, and whatever was published since has the present numbering. It
-- goes on as that epoch for whoever knows it: nobody has to be told of the numbering's own.
local function is_complete(epoch, history, is_stored)
  local of, second = string.match(epoch, '^(%d+)%.0%.(%d+)$')
  if of ~= generation then return false end
  second = tonumber(second)
  -- An earlier numbering has not ended in between: each lives for longer than this.
  local began = is_stored and tonumber(redis.call('HGET', history.numbering, 'began')) or now / 1000
  if began - second >= history.numbering_ms / 1000 then return false end
  local first = complete_since(history)
  return first and second >= first
end

-- Returns epoch and offset; '1' or '0' for recovered or not, empty if no position was given; then
-- what 'replay' appends.
local function recover(question)
  local history = history_of(question, generation_key, '')
  history.held = KEYS[question.held]
  local epoch, offset, _, is_stored = read_position(generation, history)
  if is_stored then
    -- Joining keeps the numbering alive.
    redis.call('PEXPIRE', history.numbering, history.numbering_ms)
  else
    epoch = epoch_before_any(history)
  end
  if not question.epoch then return { epoch, offset, '' } end
  local since_epoch, since_offset = question.epoch, tonumber(question.offset)

  local missed = tonumber(offset) - since_offset
  local is_of_epoch = since_epoch == epoch or is_complete(since_epoch, history, is_stored)
  if is_of_epoch and not is_stored then
    -- With a log its numbering was evicted.
    if redis.call('EXISTS', history.log) == 1 then return { epoch, offset, '0' } end
    epoch = since_epoch
  end
  if not is_of_epoch or missed < 0 then return { epoch, offset, '0' } end
  local answer = { epoch, offset, '1' }
  if missed > 0 and not replay(answer, history.log, history.log_ms, since_offset, missed) then
    return { epoch, offset, '0' }
  end
  return answer
end

local answers = {}
for at = FIRST_QUESTION, #ARGV do
  if weight > max_weight then break end
  local ok, answer = pcall(recover, cmsgpack.unpack(ARGV[at]))
  answers[#answers + 1] =
    ok and answer or { type(answer) == 'table' and answer.err or tostring(answer) }
end
return answers
