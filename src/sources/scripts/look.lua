-- Reads some sources without removing anything. KEYS: the sources. Returns the present in ms, then
-- for each source one of
--   { 'unreached' }         the sources before it used up the limit of one read
--   { 'refused', why }
--   { 'read', length, skipped, … }   length = entries in it, skipped = entries at its head that
--                                    were not read; then in turn an entry and its score, or
--                                    its id and its fields
-- ARGV: see below, then a packed table for each source:
--   type        'set' or 'stream'
--   left        entries at its head that were left there before
--   last_left   the last of those: an entry, or an id of the stream ('' = none)
--   count       entries wanted
local max_bytes = tonumber(ARGV[1]) -- of all sources
local max_source_bytes = tonumber(ARGV[2])
local BEFORE_SOURCES = 2

local room = max_bytes

-- Pairs of entry and score, behind those left if they are still the head: other drainers may have
-- taken some, and a sender whose clock is slow may have added entries among them.
local function read_set(key, source)
  local left, count = source.left, source.count
  if left > 0 then
    local found = redis.pcall('ZRANGE', key, left - 1, left + count - 1, 'WITHSCORES')
    if found.err then return found, 0 end
    if found[1] == source.last_left then return { unpack(found, 3) }, left end
  end
  return redis.pcall('ZRANGE', key, 0, count - 1, 'WITHSCORES'), 0
end

-- Pairs of id and fields.
local function read_stream(key, source)
  local first = source.last_left == '' and '-' or '(' .. source.last_left
  local found = redis.pcall('XRANGE', key, first, '+', 'COUNT', source.count)
  if found.err then return found, 0 end
  local pairs_found = {}
  for _, entry in ipairs(found) do
    pairs_found[#pairs_found + 1] = entry[1]
    pairs_found[#pairs_found + 1] = entry[2]
  end
  return pairs_found, source.left
end

local readers = {
  set = { read = read_set, length = function(key) return redis.call('ZCARD', key) end },
  stream = { read = read_stream, length = function(key) return redis.call('XLEN', key) end },
}

local function size(entry, content)
  if type(content) ~= 'table' then return #entry end
  local bytes = 0
  for _, field in ipairs(content) do bytes = bytes + #field end
  return bytes
end

local function look(key, source)
  if room <= 0 then return { 'unreached' } end
  local reader = readers[source.type]
  local found, skipped = reader.read(key, source)
  if found.err then return { 'refused', found.err } end
  if #found == 0 then return { 'read', 0, 0 } end
  local answer = { 'read', reader.length(key), skipped }
  local source_room = math.min(room, max_source_bytes)
  for at = 1, #found, 2 do
    local bytes = size(found[at], found[at + 1])
    -- Always at least one entry, however large, since it has to be removed.
    if bytes > source_room and at > 1 then break end
    source_room, room = source_room - bytes, room - bytes
    answer[#answer + 1] = found[at]
    answer[#answer + 1] = found[at + 1]
  end
  return answer
end

local time = redis.call('TIME')
local answer = { time[1] * 1000 + math.floor(time[2] / 1000) }
for index, key in ipairs(KEYS) do
  answer[index + 1] = look(key, cmsgpack.unpack(ARGV[BEFORE_SOURCES + index]))
end
return answer
