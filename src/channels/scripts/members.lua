-- Whom groups are for in Django. KEYS: groups, as senders find them. ARGV: seconds after which a member
-- is forgotten, what the names of this cluster begin with. Returns for each group the others' names,
-- oldest member first, or why it cannot be read.
local stale = tonumber(redis.call('TIME')[1]) - tonumber(ARGV[1])
local own = ARGV[2]
local answer = {}
for i, group in ipairs(KEYS) do
  -- As each sender does: nobody else takes out what is stale.
  local found = redis.pcall('ZREMRANGEBYSCORE', group, 0, stale)
  if type(found) == 'number' then found = redis.pcall('ZRANGE', group, 0, -1) end
  if found.err then
    answer[i] = found.err
  else
    local others = {}
    for _, member in ipairs(found) do
      if string.sub(member, 1, #own) ~= own then others[#others + 1] = member end
    end
    answer[i] = others
  end
end
return answer
