-- Publishes several publications in order. KEYS: the generation, the channels for which something
-- is parked, then numbering and log of each group with history. ARGV: generation, random part of
-- new epochs; for each group with history four values; then for each publication three: the number
-- of its group (0 = without history), channel, envelope. They are not packed: with cmsgpack a
-- publication cost two to three times as much (6 to 10 µs instead of 2 to 4). Returns why it
-- stopped (empty = it did not; PARKED = the next one must be parked behind others, which
-- once.lua does), how many were sent, and epoch and offset of each that has them; nothing at all
-- if the generation has changed.
local generation_key = KEYS[1]
local parking = KEYS[2]
local generation = ARGV[1]
local random = ARGV[2]
local group_count = (#KEYS - 2) / 2
local first_group, values_of_group = 3, 4
local first_publication, values_of_publication = first_group + values_of_group * group_count, 3

if group_count > 0 and not is_current_generation(generation_key, generation) then return {} end

local histories = {}
for number = 1, group_count do
  local at = first_group + values_of_group * (number - 1)
  histories[tostring(number)] = {
    generation_key = generation_key,
    numbering = KEYS[2 * number + 1],
    log = KEYS[2 * number + 2],
    size = ARGV[at],
    log_ms = ARGV[at + 1],
    numbering_ms = ARGV[at + 2],
    overflow_field = ARGV[at + 3],
    random = random,
  }
end

local positions = {}
local is_parking = redis.call('EXISTS', parking) == 1
-- Returns the error, if any. What was sent stays sent, so the first error ends the batch.
local function publish(history, channel, envelope)
  if not history then
    if is_parking and redis.call('ZSCORE', parking, channel) then return 'PARKED' end
    local receivers = redis.pcall('PUBLISH', channel, envelope)
    return type(receivers) == 'table' and receivers.err
  end
  local ok, epoch, offset = pcall(append_and_publish, generation, history, channel, envelope)
  if not ok then return type(epoch) == 'table' and epoch.err or tostring(epoch) end
  positions[#positions + 1] = epoch
  positions[#positions + 1] = offset
end

local sent, failure = 0, nil
for at = first_publication, #ARGV, values_of_publication do
  failure = publish(histories[ARGV[at]], ARGV[at + 1], ARGV[at + 2])
  if failure then break end
  sent = sent + 1
end
return { failure or '', tostring(sent), unpack(positions) }
