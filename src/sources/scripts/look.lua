-- Reads some sources without removing anything. KEYS: the sources, then a hash of what is under
-- way, the instances, and the generation. Returns the present in ms, then for each source one of
--   { 'stale_generation' }  this server holds other data than the caller knows
--   { 'unreached' }         the sources before it used up the limit of one read
--   { 'refused', why }
--   { 'suspended' }         two instances have had its first entry under way: it must turn out
--                           whether both have ended
--   { 'read', length, skipped, ends, … }   length = entries in it, skipped = entries at its head
--                                    that were not read, ends = processes that ended with the
--                                    first of these under way; then in turn an entry and its
--                                    score, or its id and its fields
-- ARGV: see below, then a packed table for each source:
--   type        'set' or 'stream'
--   left        entries at its head that were left there before
--   last_left   the last of those: an entry, or an id of the stream ('' = none)
--   count       entries wanted
--   is_drained  whether the entries are about to be drained: 1 or 0
--   ends        known process ends with one of these under way: then only one is returned
local max_bytes = tonumber(ARGV[1]) -- of all sources
local max_source_bytes = tonumber(ARGV[2])
local instance = ARGV[3]
local generation = ARGV[4] -- empty = the draining script looks at it
local BEFORE_SOURCES = 4
local source_count = #ARGV - BEFORE_SOURCES
local under_way, instances_key = KEYS[source_count + 1], KEYS[source_count + 2]

-- Seconds since its last heartbeat after which an instance counts as ended, as in listening.lua.
local MAX_SILENCE = 4

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

local function is_live(id, now)
  local at = redis.call('ZSCORE', instances_key, id)
    or redis.call('ZSCORE', instances_key, '-' .. id)
  return at and tonumber(at) >= now - MAX_SILENCE
end

local now = tonumber(redis.call('TIME')[1])
local marks = redis.call('HMGET', under_way, unpack(KEYS, 1, source_count))

-- A mark: how many entries are under way, the digest of the first, and the instances that have had
-- it under way since it was last drained, which removes the mark. Returns how many of them have
-- ended and how many may have, as they are others and live, and their names. If another entry was
-- the first, this one may have been among the rest.
local function read_mark(mark, first)
  if not mark then return 0, 0, nil end
  local digest, owners = string.match(mark, '^%d+ (%x+) (%S+)$')
  local ended, unknown = 0, 0
  for id in string.gmatch(owners or '', '[^,]+') do
    if id ~= instance then
      if is_live(id, now) then unknown = unknown + 1 else ended = ended + 1 end
    end
  end
  if digest == redis.sha1hex(first) then return ended, unknown, owners end
  return 0, math.min(ended + unknown, 1), nil
end

-- Keys of sources and their new marks, in turn.
local new_marks = {}

-- Marks what is returned as under way.
local function write_mark(key, first, count, owners)
  if not owners then
    owners = instance
  elseif not string.find(owners, instance, 1, true) then
    owners = owners .. ',' .. instance
  end
  new_marks[#new_marks + 1] = key
  new_marks[#new_marks + 1] = table.concat({ count, redis.sha1hex(first), owners }, ' ')
end

local function look(key, source, mark)
  if room <= 0 then return { 'unreached' } end
  local reader = readers[source.type]
  local found, skipped = reader.read(key, source)
  if found.err then return { 'refused', found.err } end
  if #found == 0 then return { 'read', 0, 0, 0 } end
  local ends, last, owners = 0, #found, nil
  if source.is_drained == 1 then
    local ended, unknown
    ended, unknown, owners = read_mark(mark, found[1])
    if ended < 2 and ended + unknown >= 2 then return { 'suspended' } end
    ends = math.max(source.ends, ended >= 2 and ended or ended + unknown)
    if ends > 0 then last = 2 end
  end
  local answer = { 'read', reader.length(key), skipped, ends }
  local source_room = math.min(room, max_source_bytes)
  for at = 1, last, 2 do
    local bytes = size(found[at], found[at + 1])
    -- Always at least one entry, however large, since it has to be removed.
    if bytes > source_room and at > 1 then break end
    source_room, room = source_room - bytes, room - bytes
    answer[#answer + 1] = found[at]
    answer[#answer + 1] = found[at + 1]
  end
  if source.is_drained == 1 then write_mark(key, found[1], (#answer - 4) / 2, owners) end
  return answer
end

local is_stale = generation ~= ''
  and not is_current_generation(KEYS[source_count + 3], generation)
local answer = { now_ms() }
for index = 1, source_count do
  answer[index + 1] = is_stale and { 'stale_generation' }
    or look(KEYS[index], cmsgpack.unpack(ARGV[BEFORE_SOURCES + index]), marks[index])
end
-- A full Redis refuses this, and is drained nevertheless.
if #new_marks > 0 then redis.pcall('HSET', under_way, unpack(new_marks)) end
return answer
