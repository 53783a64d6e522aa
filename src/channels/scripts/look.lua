-- What waits in some sources; takes nothing away. KEYS: the sources. ARGV: bytes of all, bytes of one;
-- then for each its kind (z or x), how many at its head were kept before, the last of those (an entry,
-- or an id of a stream; empty = none) and how many are wanted. Returns for each: null if it was not
-- reached; nothing if there is nothing; its length, behind how many kept ones it was read, and then, for
-- each entry, the entry and its score, or its id and its fields; or '!' and why it cannot be read. Then
-- the present in ms.
local left = tonumber(ARGV[1])
local answer = {}

-- From behind the kept ones if they are still the head: who else drains may have taken some, and a
-- sender whose clock is late may have put something among them.
local function members(key, kept, after, count)
  if kept > 0 then
    local found = redis.pcall('ZRANGE', key, kept - 1, kept + count - 1, 'WITHSCORES')
    if found.err then return found, 0 end
    if found[1] == after then return { unpack(found, 3) }, kept end
  end
  return redis.pcall('ZRANGE', key, 0, count - 1, 'WITHSCORES'), 0
end

local function look(key, kind, kept, after, count)
  local found, from
  if kind == 'z' then
    found, from = members(key, kept, after, count)
  else
    found = redis.pcall('XRANGE', key, after == '' and '-' or '(' .. after, '+', 'COUNT', count)
    from = kept
  end
  if found.err then return { '!', found.err } end
  if #found == 0 then return {} end
  local here = { redis.call(kind == 'z' and 'ZCARD' or 'XLEN', key), from }
  local room = math.min(left, tonumber(ARGV[2]))
  -- One entry always, however large it is: it has to be removed some day.
  for at = 1, #found, kind == 'z' and 2 or 1 do
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
  return here
end

for i, key in ipairs(KEYS) do
  local at = 4 * i - 1
  local count = tonumber(ARGV[at + 3])
  answer[i] = left > 0 and look(key, ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], count)
end
local time = redis.call('TIME')
answer[#KEYS + 1] = time[1] * 1000 + math.floor(time[2] / 1000)
return answer
