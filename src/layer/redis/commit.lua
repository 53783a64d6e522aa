-- Numbers, keeps and publishes one publication. Returns its epoch and offset, or nothing if the
-- generation has changed.
local generation_key = KEYS[1]
local history = {
  generation_key = generation_key,
  numbering = KEYS[2],
  log = KEYS[3],
  size = ARGV[2],
  log_ms = ARGV[3],
  numbering_ms = ARGV[4],
  random = ARGV[5],
  overflow_field = ARGV[6],
}
local generation = ARGV[1]
local channel = ARGV[7]
local envelope = ARGV[8]

if not is_current_generation(generation_key, generation) then return {} end
local epoch, offset = append_and_publish(generation, history, channel, envelope)
return { epoch, offset }
