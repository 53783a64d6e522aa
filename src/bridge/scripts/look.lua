-- What waits in some sources; takes nothing away. KEYS: the sources. ARGV: bytes of all, bytes of one;
-- then for each its kind (z or x), where to begin (a rank, or an id of a stream) and how many. Returns
-- for each: nothing if it is empty or was not reached, or its length and then, for each entry, the
-- entry and its score, or its id and its fields; or '!' and why it cannot be read.
local left = tonumber(ARGV[1])
local answer = {}
for i, key in ipairs(KEYS) do
  local kind, from, count = ARGV[3 * i], ARGV[3 * i + 1], tonumber(ARGV[3 * i + 2])
  local found
  if left <= 0 then
    found = {}
  elseif kind == 'z' then
    found = redis.pcall('ZRANGE', key, from, from + count - 1, 'WITHSCORES')
  else
    found = redis.pcall('XRANGE', key, from, '+', 'COUNT', count)
  end
  local here = {}
  if found.err then
    here = { '!', found.err }
  elseif #found > 0 then
    here[1] = redis.call(kind == 'z' and 'ZCARD' or 'XLEN', key)
    local room = math.min(left, tonumber(ARGV[2]))
    local step = kind == 'z' and 2 or 1
    -- One entry always, however large it is: it has to be removed some day.
    for at = 1, #found, step do
      local first, second, size = found[at], found[at + 1], 0
      if kind == 'z' then
        size = #first
      else
        first, second = found[at][1], found[at][2]
        for _, field in ipairs(second) do size = size + #field end
      end
      if size > room and at > 1 then break end
      room, left = room - size, left - size
      here[#here + 1] = first
      here[#here + 1] = second
    end
  end
  answer[i] = here
end
return answer
