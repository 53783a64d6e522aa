-- Publishes several publications in order, each once under its key, or parks it behind those that
-- are parked for its group. KEYS: the generation, the channels for which something is parked, then
-- the marks and the order of each scope, numbering and log of each group with history, and for each
-- other group what is parked and its mark. ARGV: generation, random part of new epochs, ms that a
-- mark is kept, publications that may be parked for a group, for how many ms, number of scopes,
-- number of groups without history; the capacity of each scope; for each group with history four
-- values, as in publish_many.lua; then for each publication eight: the number of its scope (0 =
-- without key, sent in its place), the name of its mark, its content's digest, its id, the number
-- of its group among those with history, among those without (0 = it is not one), channel,
-- envelope. Returns why it stopped (empty = it did not), then for each publication four: the
-- outcome, id, epoch and offset; nothing at all if the generation has changed.
local generation_key = KEYS[1]
local generation = ARGV[1]
local random = ARGV[2]
local window_ms = tonumber(ARGV[3])
local max_parked = tonumber(ARGV[4])
local parked_ms = tonumber(ARGV[5])
local scope_count = tonumber(ARGV[6])
local parked_count = tonumber(ARGV[7])
local first_scope, first_scope_key = 8, 3
local group_count = (#KEYS - 2) / 2 - scope_count - parked_count
local first_group, values_of_group = first_scope + scope_count, 4
local first_group_key = first_scope_key + 2 * scope_count
local first_parked_key = first_group_key + 2 * group_count
local first_publication, values_of_publication = first_group + values_of_group * group_count, 8
-- Where the id is in an envelope: behind version, kind and origin.
local id_at, id_bytes = 11, 16

if not is_current_generation(generation_key, generation) then return {} end
local now = now_ms()
local expires = string.format('%.0f', now + window_ms)

-- The marks of a scope are a hash: content's digest and id, 16 bytes each, then
-- '<expires> <generation> <epoch> <offset>'. The order is a list: the mark's name, 16 bytes, then
-- when it expires.
local scopes = {}
for number = 1, scope_count do
  local key = first_scope_key + 2 * (number - 1)
  local capacity = tonumber(ARGV[first_scope + number - 1])
  scopes[tostring(number)] =
    { marks = KEYS[key], order = KEYS[key + 1], capacity = capacity, added = 0 }
end

local histories = {}
for number = 1, group_count do
  local at, key = first_group + values_of_group * (number - 1), first_group_key + 2 * (number - 1)
  histories[tostring(number)] = {
    generation_key = generation_key,
    numbering = KEYS[key],
    log = KEYS[key + 1],
    size = ARGV[at],
    log_ms = ARGV[at + 1],
    numbering_ms = ARGV[at + 2],
    overflow_field = ARGV[at + 3],
    random = random,
  }
end

local parked_groups = {}
for number = 1, parked_count do
  local key = first_parked_key + 2 * (number - 1)
  parked_groups[tostring(number)] =
    { parking = KEYS[2], parked = KEYS[key], mark = KEYS[key + 1] }
end

local function read_mark(scope, name)
  local mark = redis.call('HGET', scope.marks, name)
  if not mark then return nil end
  local till, of, epoch, offset = string.match(string.sub(mark, 33), '^(%d+) (%d+) (%S*) (%d*)$')
  if not till or tonumber(till) <= now then return nil end
  return {
    content = string.sub(mark, 1, 16),
    id = string.sub(mark, 17, 32),
    generation = of,
    epoch = epoch,
    offset = offset,
  }
end

local function write_mark(scope, name, content, id, epoch, offset)
  local text = table.concat({ expires, generation, epoch, offset }, ' ')
  redis.call('HSET', scope.marks, name, content .. id .. text)
end

-- Looks at no more than 'most', so that the script stays short.
local function forget_expired(scope, most)
  local expired = 0
  for _, entry in ipairs(redis.call('LRANGE', scope.order, 0, most - 1)) do
    if (tonumber(string.sub(entry, 17)) or 0) > now then break end
    expired = expired + 1
    local name = string.sub(entry, 1, 16)
    if not read_mark(scope, name) then redis.call('HDEL', scope.marks, name) end
  end
  if expired > 0 then redis.call('LPOP', scope.order, expired) end
end

local function is_full(scope)
  if redis.call('HLEN', scope.marks) < scope.capacity then return false end
  forget_expired(scope, 64)
  -- If Redis has evicted the order, nothing would ever forget its marks.
  if redis.call('LLEN', scope.order) < redis.call('HLEN', scope.marks) then
    redis.call('DEL', scope.marks, scope.order)
  end
  return redis.call('HLEN', scope.marks) >= scope.capacity
end

-- A publication to be sent is a table of id, channel, envelope, history (nil = its group has none)
-- and parked (nil = its target is not a group without history).
local function send(publication)
  local channel, envelope = publication.channel, publication.envelope
  if publication.history then
    return append_and_publish(generation, publication.history, channel, envelope)
  end
  local parked = publication.parked
  if parked then parked.channel = channel end
  if not parked or not park_behind(parked, envelope, max_parked, parked_ms) then
    redis.call('PUBLISH', channel, envelope)
  end
  return '', ''
end

-- Returns outcome, id, epoch and offset.
local function publish_once(scope, name, content, publication)
  local id = publication.id
  if not scope then return 'sent', id, send(publication) end
  local earlier = read_mark(scope, name)
  if earlier and earlier.content ~= content then return 'other', '', '', '' end
  if earlier and earlier.generation == generation then
    return 'earlier', earlier.id, earlier.epoch, earlier.offset
  end
  if not earlier and is_full(scope) then return 'full', '', '', '' end
  if earlier then
    -- Whether it arrived in the older generation is unknown. Clients that have it can drop it by
    -- its first id.
    id = earlier.id
    local envelope = publication.envelope
    publication.envelope =
      string.sub(envelope, 1, id_at - 1) .. id .. string.sub(envelope, id_at + id_bytes)
  end
  -- The first write takes memory, so a full Redis refuses it before anything is sent.
  redis.call('RPUSH', scope.order, name .. expires)
  write_mark(scope, name, content, id, '', '')
  scope.added = scope.added + 1
  local ok, epoch, offset = pcall(send, publication)
  if not ok then
    redis.call('HDEL', scope.marks, name)
    error(epoch, 0)
  end
  if publication.history then write_mark(scope, name, content, id, epoch, offset) end
  return 'sent', id, epoch, offset
end

local answer = { '' }
for at = first_publication, #ARGV, values_of_publication do
  local publication = {
    id = ARGV[at + 3],
    history = histories[ARGV[at + 4]], parked = parked_groups[ARGV[at + 5]],
    channel = ARGV[at + 6], envelope = ARGV[at + 7],
  }
  local result =
    { pcall(publish_once, scopes[ARGV[at]], ARGV[at + 1], ARGV[at + 2], publication) }
  if not result[1] then
    -- What was sent stays sent, so the first error ends the batch.
    local cause = result[2]
    answer[1] = type(cause) == 'table' and cause.err or tostring(cause)
    break
  end
  for value = 2, 5 do
    answer[#answer + 1] = result[value]
  end
end
for _, scope in pairs(scopes) do
  if scope.added > 0 then
    forget_expired(scope, 2 * scope.added + 8)
    redis.call('PEXPIRE', scope.marks, window_ms)
    redis.call('PEXPIRE', scope.order, window_ms)
  end
end
return answer
