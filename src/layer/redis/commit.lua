-- Numbers, keeps and publishes one publication. KEYS: the generation, then what the publication
-- names by place. ARGV: generation, random part of a new epoch, and the publication, packed:
--   channel, envelope
--   numbering, log, size, log_ms, numbering_ms, overflow_field   of its group: see numbering.lua
-- Returns its epoch and offset, or nothing if the generation has changed.
local generation_key = KEYS[1]
local generation = ARGV[1]
local random = ARGV[2]
local publication = cmsgpack.unpack(ARGV[3])

if not is_current_generation(generation_key, generation) then return {} end
local history = history_of(publication, generation_key, random)
local epoch, offset =
  append_and_publish(generation, history, publication.channel, publication.envelope)
return { epoch, offset }
