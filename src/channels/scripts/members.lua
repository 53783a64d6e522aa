-- Returns the members of groups in Django without this cluster's own. KEYS: the registries of the
-- groups. Returns for each its members, oldest first, or why it cannot be read.
local registries = KEYS
local expiry = tonumber(ARGV[1]) -- seconds after which a member is forgotten
local own_stem = ARGV[2]

local stale = tonumber(redis.call('TIME')[1]) - expiry
local answer = {}
for index, registry in ipairs(registries) do
  -- Every sender does this as well: nothing else removes expired members.
  local found = redis.pcall('ZREMRANGEBYSCORE', registry, 0, stale)
  if type(found) == 'number' then found = redis.pcall('ZRANGE', registry, 0, -1) end
  if found.err then
    answer[index] = found.err
  else
    local others = {}
    for _, member in ipairs(found) do
      if string.sub(member, 1, #own_stem) ~= own_stem then others[#others + 1] = member end
    end
    answer[index] = others
  end
end
return answer
