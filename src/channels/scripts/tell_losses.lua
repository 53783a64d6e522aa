-- Tells possible losses of groups. KEYS: the keys that groups refer to by index. ARGV: the control
-- channel, the envelope that announces the losses, then a packed table for each group with history:
--   held             the key that marks it as held, see register.lua
--   numbering, log   its history
-- Returns how many positions became invalid.
local control, envelope = ARGV[1], ARGV[2]
local FIRST_GROUP = 3

for i = FIRST_GROUP, #ARGV do
  local group = cmsgpack.unpack(ARGV[i])
  redis.call('DEL', KEYS[group.numbering], KEYS[group.log])
  -- A position before any publication is not stored: its second decides, as in drain.lua.
  local held = redis.call('GET', KEYS[group.held])
  if held then
    local second = string.format('%.0f', redis.call('TIME')[1] + 1)
    held = second .. string.gsub(held, '^%d+', '')
    redis.call('SET', KEYS[group.held], held, 'KEEPTTL')
  end
end
redis.call('PUBLISH', control, envelope)
return #ARGV - FIRST_GROUP + 1
