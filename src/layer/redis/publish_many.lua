-- Several publications, in order. KEYS: generation, then numbering and log of each group with history.
-- ARGV: generation known, random part of new epochs; for each group with history publications kept, ms
-- kept, ms numbered, field that counts doubts; for each publication the number of its group with history (0 = it has none),
-- channel, envelope. Returns why it stopped (or nothing), how many were sent, then epoch and offset of
-- each that has them; nothing at all if the generation is not the present one.
local groups, count = {}, (#KEYS - 1) / 2
if count > 0 and not is_known(KEYS[1], ARGV[1]) then return {} end
for i = 1, count do
  groups[tostring(i)] = {
    numbering = KEYS[2 * i], log = KEYS[2 * i + 1],
    size = ARGV[4 * i - 1], kept = ARGV[4 * i], numbered = ARGV[4 * i + 1], doubt = ARGV[4 * i + 2],
    random = ARGV[2],
  }
end

local sent, positions = 0, {}
-- Gives the cause if it failed. What was sent stays sent, so the first failure is the end of it.
local function send(group, channel, envelope)
  if not group then
    local heard = redis.pcall('PUBLISH', channel, envelope)
    return type(heard) == 'table' and heard.err
  end
  local well, epoch, offset = pcall(keep, ARGV[1], group, channel, envelope)
  if not well then return type(epoch) == 'table' and epoch.err or tostring(epoch) end
  positions[#positions + 1] = epoch
  positions[#positions + 1] = offset
end

local cause
for i = 3 + 4 * count, #ARGV, 3 do
  cause = send(groups[ARGV[i]], ARGV[i + 1], ARGV[i + 2])
  if cause then break end
  sent = sent + 1
end
return { cause or '', tostring(sent), unpack(positions) }
