-- Numbers commands, keeps them and publishes each with its number, in one step: what has a number
-- is in the stream. Returns the generation and number of the last, or 'full', or nothing if the
-- generation has changed.
local generation_key, stream = KEYS[1], KEYS[2]
local generation = ARGV[1]
local control_channel = ARGV[2]
local most = tonumber(ARGV[3])
local max_age_ms = tonumber(ARGV[4])
-- Of commands that are appended again, since data may have been lost: those that are among so many
-- of the newest are already there; 0 = they are new.
local searched = tonumber(ARGV[5])
local first_command, values_of_command = 6, 2
-- per command: id, envelope

if not is_current_generation(generation_key, generation) then return {} end

local now = now_ms()
-- So is what another program appended.
local function is_old(entry)
  return now - (tonumber(entry[2][2]) or 0) > max_age_ms
end

-- Removals come first: they lift Redis' check of 'maxmemory' from the rest. A full Redis must not
-- keep a user from being closed.
local old = { '0-1' }
local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)
if oldest[1] and is_old(oldest[1]) then
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', 256)) do
    if not is_old(entry) then break end
    old[#old + 1] = entry[1]
  end
end
redis.call('XDEL', stream, unpack(old))
local length = redis.call('XLEN', stream)
-- An empty stream remembers its newest id, which may be greater than the next number if the
-- numbering was lost.
if length == 0 then redis.call('DEL', stream) end

-- The generation and number of the newest command, and the number before that generation's first.
local stored = redis.call('HGET', generation_key, 'commands') or ''
local counted, number, before = string.match(stored, '^(%d+) (%d+) (%d+)$')
number = tonumber(number or 0)
if number == 0 and length > 0 then
  local from = '-'
  repeat
    local chunk = redis.call('XRANGE', stream, from, '+', 'COUNT', 1000)
    if chunk[1] then
      from = '(' .. chunk[#chunk][1]
      number = tonumber(string.match(chunk[#chunk][1], '^%d+'))
    end
  until #chunk < 1000
end
if counted ~= generation then before = string.format('%.0f', number) end

local known = {}
if searched > 0 then
  local from = string.format('%.0f', math.max(0, number - searched))
  for _, entry in ipairs(redis.call('XRANGE', stream, from, '+')) do
    known[entry[2][6]] = true
  end
end

for at = first_command, #ARGV, values_of_command do
  local id, envelope = ARGV[at], ARGV[at + 1]
  if not known[id] then
    if length >= most then return { 'full', '0' } end
    local place = string.format('%.0f', number + 1)
    redis.call('XADD', stream, place .. '-0',
      't', string.format('%.0f', now), 'g', generation, 'i', id, 'e', envelope)
    number, length = number + 1, length + 1
    local numbering = generation .. ' ' .. place .. ' ' .. before
    redis.call('HSET', generation_key, 'commands', numbering)
    redis.call('PUBLISH', control_channel, envelope .. numbering .. '\n')
  end
end
redis.call('PEXPIRE', stream, max_age_ms * 2)
return { generation, string.format('%.0f', number) }
