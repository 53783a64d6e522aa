-- One publication. KEYS: generation, numbering, log. ARGV: generation known, publications kept, ms
-- kept, ms numbered, random part of a new epoch, channel, envelope, field that counts doubts. Returns epoch and offset, or
-- nothing if the generation is not the present one.
if not is_known(KEYS[1], ARGV[1]) then return {} end
local how = {
  numbering = KEYS[2], log = KEYS[3],
  size = ARGV[2], kept = ARGV[3], numbered = ARGV[4], random = ARGV[5], doubt = ARGV[8],
}
local epoch, offset = keep(ARGV[1], how, ARGV[6], ARGV[7])
return { epoch, offset }
