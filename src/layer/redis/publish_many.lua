-- Publishes several publications in order. KEYS: the generation, the channels for which something
-- is parked, then what histories name by place. ARGV: packed tables. The first:
--   generation  the generation that this instance knows
--   random      random part of new epochs
--   histories   a list: numbering, log, size, log_ms, numbering_ms, overflow_field (see
--               numbering.lua)
-- Then one for each publication:
--   channel, envelope
--   history     its place among the histories (nil = its group has none)
-- Packed, a publication costs Redis 4 µs; as loose arguments, which nobody could read, it cost 3
-- (32 of 300 bytes, without receivers).
-- Returns why it stopped (empty = it did not; PARKED = the next one must be parked behind others,
-- which once.lua does), how many were sent, and epoch and offset of each that has them; nothing at
-- all if the generation has changed.
local generation_key = KEYS[1]
local parking = KEYS[2]
local batch = cmsgpack.unpack(ARGV[1])
local FIRST_PUBLICATION = 2

local has_histories = #batch.histories > 0
if has_histories and not is_current_generation(generation_key, batch.generation) then return {} end
for _, packed in ipairs(batch.histories) do history_of(packed, generation_key, batch.random) end

local positions = {}
local is_parking = redis.call('EXISTS', parking) == 1
-- Returns the error, if any. What was sent stays sent, so the first error ends the batch.
local function publish(history, channel, envelope)
  if not history then
    if is_parking and redis.call('ZSCORE', parking, channel) then return 'PARKED' end
    local receivers = redis.pcall('PUBLISH', channel, envelope)
    return type(receivers) == 'table' and receivers.err
  end
  local ok, epoch, offset = pcall(append_and_publish, batch.generation, history, channel, envelope)
  if not ok then return type(epoch) == 'table' and epoch.err or tostring(epoch) end
  positions[#positions + 1] = epoch
  positions[#positions + 1] = offset
end

local sent, failure = 0, nil
for at = FIRST_PUBLICATION, #ARGV do
  local publication = cmsgpack.unpack(ARGV[at])
  local history = publication.history and batch.histories[publication.history]
  failure = publish(history, publication.channel, publication.envelope)
  if failure then break end
  sent = sent + 1
end
return { failure or '', tostring(sent), unpack(positions) }
