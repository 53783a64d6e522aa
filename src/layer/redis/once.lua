-- Publishes several publications in order, each once under its key, or parks it behind those that
-- are parked for its group. KEYS: the generation, the channels for which something is parked, then
-- what the tables name by place. ARGV: packed tables. The first:
--   generation      the generation that this instance knows
--   random          random part of new epochs
--   window_ms       how long a mark is kept
--   max_parked      publications that may be parked for a group
--   parked_ms       how long they stay parked
--   scopes          a list: marks, order, capacity, forgets (1 = the oldest marks make room for new
--                   ones, nil = new keys are refused)
--   histories       a list: numbering, log, size, log_ms, numbering_ms, overflow_field (see
--                   numbering.lua)
--   parked_groups   a list, of groups without history: parked, mark (see parking.lua)
-- Then one for each publication:
--   id, channel, envelope
--   scope           place of its scope (nil = without key: sent in its turn)
--   mark, content   of a key: the mark's name and the content's digest, 16 bytes each
--   history         its place among the histories (nil = its group has none)
--   parked          its place among the parked groups (nil = it is for no group, or for one with
--                   history)
-- Returns why it stopped (empty = it did not), then for each publication four: the outcome, id,
-- epoch and offset; nothing at all if the generation has changed. After 'sign_anew' none follow:
-- the publication has to be signed with this id, and sent with the rest.
local generation_key = KEYS[1]
local parking = KEYS[2]
local batch = cmsgpack.unpack(ARGV[1])
local generation = batch.generation
local FIRST_PUBLICATION = 2
-- Where the id is in an envelope: behind version, kind and origin.
local id_at, id_bytes = 11, 16
-- The first byte of one that is signed, which cannot be changed.
local SIGNED = 5

if not is_current_generation(generation_key, generation) then return {} end
local now = now_ms()
local expires = string.format('%.0f', now + batch.window_ms)

-- The marks of a scope are a hash: content's digest and id, 16 bytes each, then
-- '<expires> <generation> <epoch> <offset>'. The order is a list: the mark's name, 16 bytes, then
-- when it expires.
for _, scope in ipairs(batch.scopes) do
  scope.marks, scope.order, scope.added = KEYS[scope.marks], KEYS[scope.order], 0
end
for _, packed in ipairs(batch.histories) do history_of(packed, generation_key, batch.random) end
for _, group in ipairs(batch.parked_groups) do
  group.parking, group.parked, group.mark = parking, KEYS[group.parked], KEYS[group.mark]
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

-- A few at once, so that not every new key does it.
local function forget_oldest(scope)
  local few = math.max(1, math.min(16, math.floor(scope.capacity / 8)))
  for _, entry in ipairs(redis.call('LRANGE', scope.order, 0, few - 1)) do
    redis.call('HDEL', scope.marks, string.sub(entry, 1, 16))
  end
  redis.call('LPOP', scope.order, few)
end

local function is_full(scope)
  if redis.call('HLEN', scope.marks) < scope.capacity then return false end
  forget_expired(scope, 64)
  -- If Redis has evicted the order, nothing would ever forget its marks.
  if redis.call('LLEN', scope.order) < redis.call('HLEN', scope.marks) then
    redis.call('DEL', scope.marks, scope.order)
  end
  if redis.call('HLEN', scope.marks) < scope.capacity then return false end
  if not scope.forgets then return true end
  forget_oldest(scope)
  return false
end

local function send(publication)
  local channel, envelope = publication.channel, publication.envelope
  if publication.history then
    return append_and_publish(generation, batch.histories[publication.history], channel, envelope)
  end
  local group = publication.parked and batch.parked_groups[publication.parked]
  if group then group.channel = channel end
  if not group or not park_behind(group, envelope, batch.max_parked, batch.parked_ms) then
    redis.call('PUBLISH', channel, envelope)
  end
  return '', ''
end

-- Returns outcome, id, epoch and offset.
local function publish_once(publication)
  local scope = publication.scope and batch.scopes[publication.scope]
  local id, name, content = publication.id, publication.mark, publication.content
  if not scope then return 'sent', id, send(publication) end
  local earlier = read_mark(scope, name)
  if earlier and earlier.content ~= content then return 'other', '', '', '' end
  if earlier and earlier.generation == generation then
    return 'earlier', earlier.id, earlier.epoch, earlier.offset
  end
  if not earlier and is_full(scope) then return 'full', '', '', '' end
  if earlier and earlier.id ~= id then
    -- Whether it arrived in the older generation is unknown. Clients that have it can drop it by
    -- its first id.
    local envelope = publication.envelope
    if string.byte(envelope) == SIGNED then return 'sign_anew', earlier.id, '', '' end
    id = earlier.id
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
for at = FIRST_PUBLICATION, #ARGV do
  local result = { pcall(publish_once, cmsgpack.unpack(ARGV[at])) }
  if not result[1] then
    -- What was sent stays sent, so the first error ends the batch.
    local cause = result[2]
    answer[1] = type(cause) == 'table' and cause.err or tostring(cause)
    break
  end
  for value = 2, 5 do
    answer[#answer + 1] = result[value]
  end
  if result[2] == 'sign_anew' then break end
end
for _, scope in ipairs(batch.scopes) do
  if scope.added > 0 then
    forget_expired(scope, 2 * scope.added + 8)
    redis.call('PEXPIRE', scope.marks, batch.window_ms)
    redis.call('PEXPIRE', scope.order, batch.window_ms)
  end
end
return answer
