-- Publishes entries of a source and removes them, one after the other. Returns one of
--   { 'stale_generation' }
--   { 'refused', why }      nothing can be removed, so nothing was published
--   { 'stale_read', now }   they were read too long ago; the present in ms
--   { 'drained', fates, full, cause, blocked, abandoned, now }
-- with a fate for each entry (see below), 1 if the source was at its capacity, the error that
-- left something in the source ('' = there was none), the channels of entries newly left, the
-- members under which senders find groups that nobody holds, and the present in ms.
--
-- Fates: 'sent', 'parked' until an instance listens, 'no_listener', 'removed' without being
-- published, 'taken_elsewhere' by another drainer, 'left_in_source'.
--
-- KEYS: generation, source, instances, terms, parking (see listening.lua and parking.lua), the
-- stream of what is set aside, what is under way (see look.lua), then what publications name by
-- place. ARGV: two packed tables or more.
-- The first:
--   generation     the generation that this instance knows
--   type           of the source: 'set', 'stream', or 'elsewhere': a set on another server. Then
--                  the source given is a set of marks, by ms, of the entries that were drained
--   elsewhere      of a source elsewhere, a list of one table:
--     length       entries in it when it was read
--     read_ms      when it was read, at the latest, by this server's clock
--     max_age_ms   how long ago that may be
--     keep_ms      marks that are older may go
--     window_ms    how long any mark may be needed
--   capacity       entries at which senders drop messages (nil = they never do)
--   control, loss  a channel, and the envelope for it that announces possible losses
--   overflow_count field of the generation that counts such losses (nil = none does)
--   random         random part of new epochs
--   max_parked     publications that may be parked for a group
--   parked_ms      how long they stay parked
--   instance_stem  of the channels of instances
--   blocked        channels of the entries left in front of these
-- Then one for each entry: its key in the source and its publications; set_aside and content, why
-- it is set aside and what is kept of it (nil = it is not). A publication:
--   kind           'group', 'history' (a group with history), 'connection', 'everywhere', or
--                  'loss': an announcement of possible losses, on the control channel
--   channel, envelope   (the channel of a loss is that of its group, nil = no single one)
--   held           of groups: marks the group as held (of a loss: if the group has a history)
--   listeners      of groups: the instances that listen to it
--   parked, parked_mark   of groups: publications parked for it, and a mark that outlives them
--   registry, member   of groups: what senders find there (nil = nothing; without a registry they
--                      find the member on another server)
--   numbering, log                 of a loss: of its group's history (nil = it has none)
--   numbering, log, size, log_ms, numbering_ms, overflow_field   of groups with history: see
--                                                                numbering.lua
local generation_key = KEYS[1]
local source = KEYS[2]
local settings = cmsgpack.unpack(ARGV[1])
local FIRST_ENTRY = 2

-- Whatever follows, no process has ended by decoding these. It takes no memory.
redis.pcall('HDEL', KEYS[7], source)

if not is_current_generation(generation_key, settings.generation) then
  return { 'stale_generation' }
end

local elsewhere = settings.elsewhere and settings.elsewhere[1]
if elsewhere and now_ms() - elsewhere.read_ms > elsewhere.max_age_ms then
  return { 'stale_read', now_ms() }
end

local set = {
  try_removing = function() return redis.pcall('ZREM', source, '') end,
  contains = function(key) return redis.call('ZSCORE', source, key) end,
  remove = function(key) redis.call('ZREM', source, key) end,
  length = function() return redis.call('ZCARD', source) end,
}
local stream = {
  try_removing = function() return redis.pcall('XDEL', source, '0-0') end,
  contains = function(key) return #redis.call('XRANGE', source, key, key) > 0 end,
  remove = function(key) redis.call('XDEL', source, key) end,
  length = function() return redis.call('XLEN', source) end,
}
-- An entry that is marked was published, and is to be removed from its own server.
local marks = {
  try_removing = set.try_removing,
  contains = function(key)
    local is_marked = redis.call('ZSCORE', source, key)
    if is_marked then redis.call('ZADD', source, now_ms(), key) end
    return not is_marked
  end,
  remove = function(key) redis.call('ZADD', source, now_ms(), key) end,
  length = function() return elsewhere.length end,
}
local entries = ({ set = set, stream = stream, elsewhere = marks })[settings.type]

-- Checks that removing is allowed before anything is published. As the first command that writes,
-- it also lifts the check of 'maxmemory', which would otherwise refuse to move data from one key
-- to another.
local allowed = entries.try_removing()
if type(allowed) == 'table' and allowed.err then return { 'refused', allowed.err } end

local receiving = receiving_instances(KEYS[3], KEYS[4], settings.instance_stem)

local full = settings.capacity and entries.length() >= settings.capacity

local function parked_for(publication)
  return {
    parking = KEYS[5], channel = publication.channel,
    parked = KEYS[publication.parked], mark = KEYS[publication.parked_mark],
  }
end

local abandoned = {}
local function abandon(publication)
  if publication.registry then
    redis.call('ZREM', KEYS[publication.registry], publication.member)
  elseif publication.member then
    abandoned[#abandoned + 1] = publication.member
  end
end

-- For a group without a listener: parked if the group is held, or was recently.
local function park_or_drop(publication)
  if redis.call('EXISTS', KEYS[publication.held]) == 0 then
    abandon(publication)
    return 'no_listener'
  end
  local group = parked_for(publication)
  if redis.call('LLEN', group.parked) >= settings.max_parked then return 'left_in_source' end
  park(group, publication.envelope, settings.parked_ms)
  return 'parked'
end

local function has_listener(publication)
  return is_listened_to(receiving, publication.channel, KEYS[publication.listeners])
end

local publish = {}

function publish.group(publication)
  if not has_listener(publication) then return park_or_drop(publication) end
  local group = parked_for(publication)
  if redis.call('EXISTS', group.parked) == 1 then release(group) end
  redis.call('PUBLISH', publication.channel, publication.envelope)
  return 'sent'
end

function publish.history(publication)
  local history = history_of(publication, generation_key, settings.random)
  append_and_publish(settings.generation, history, publication.channel, publication.envelope)
  if publication.member and not has_listener(publication)
    and redis.call('EXISTS', KEYS[publication.held]) == 0 then
    abandon(publication)
  end
  return 'sent'
end

-- A connection exists or does not. What is sent to a stopped instance waits in its socket.
function publish.connection(publication)
  if redis.call('PUBSUB', 'NUMSUB', publication.channel)[2] == 0 then return 'no_listener' end
  redis.call('PUBLISH', publication.channel, publication.envelope)
  return 'sent'
end

-- Every instance listens, unless it is reconnecting.
function publish.everywhere(publication)
  if receiving.none then return 'left_in_source' end
  redis.call('PUBLISH', publication.channel, publication.envelope)
  return 'sent'
end

function publish.loss(publication)
  -- No history contains what was lost, so earlier positions become invalid.
  if publication.numbering then
    redis.call('DEL', KEYS[publication.numbering], KEYS[publication.log])
    -- A position before any publication is not stored: its second decides. One of this second may
    -- be older than the loss.
    local held = redis.call('GET', KEYS[publication.held])
    if held then
      local second = string.format('%.0f', redis.call('TIME')[1] + 1)
      held = second .. string.gsub(held, '^%d+', '')
      redis.call('SET', KEYS[publication.held], held, 'KEEPTTL')
    end
  end
  redis.call('PUBLISH', settings.control, publication.envelope)
  return 'removed'
end

-- Channels of entries left: later entries for them are left, too, to keep the order.
local blocked, newly_blocked = {}, {}
for _, channel in ipairs(settings.blocked) do blocked[channel] = true end

local cause = ''
local function try_publishing(publication)
  local ok, outcome = pcall(publish[publication.kind], publication)
  if ok then return outcome end
  cause = type(outcome) == 'table' and outcome.err or tostring(outcome)
  return 'left_in_source'
end

local function is_delivered(fate) return fate == 'sent' or fate == 'parked' end

-- Publishes all publications of an entry. It counts as sent if one of its targets has a listener.
local torn = false
local function deliver(publications)
  for _, publication in ipairs(publications) do
    if publication.channel and blocked[publication.channel] then return 'left_in_source' end
  end
  local fate = 'removed'
  for _, publication in ipairs(publications) do
    local outcome = try_publishing(publication)
    if outcome ~= 'left_in_source' then
      if outcome == 'sent' or not is_delivered(fate) then fate = outcome end
    elseif is_delivered(fate) then
      -- Left in the source, the entry would publish its others again: this publication is lost,
      -- which is announced.
      torn = true
    else
      return 'left_in_source'
    end
  end
  return fate
end

local function block(publications)
  for _, publication in ipairs(publications) do
    local channel = publication.channel
    if not channel then break end
    if not blocked[channel] then newly_blocked[#newly_blocked + 1] = channel end
    blocked[channel] = true
  end
end

local MAX_SET_ASIDE = 100

local function set_aside(entry)
  redis.pcall('XADD', KEYS[6], 'MAXLEN', MAX_SET_ASIDE, '*', 'source', source,
    'why', entry.set_aside, 'entry', entry.content)
end

local fates = {}
for i = FIRST_ENTRY, #ARGV do
  local entry = cmsgpack.unpack(ARGV[i])
  local fate = 'taken_elsewhere'
  if entries.contains(entry.key) then
    fate = deliver(entry.publications)
    if fate == 'left_in_source' then
      block(entry.publications)
    else
      if entry.set_aside then set_aside(entry) end
      entries.remove(entry.key)
    end
  end
  fates[#fates + 1] = fate
end

-- Follows the entries that were in the source when senders dropped theirs.
if full or torn then
  redis.call('PUBLISH', settings.control, settings.loss)
  if settings.overflow_count then
    redis.call('HINCRBY', generation_key, settings.overflow_count, 1)
    -- The second, for positions before any publication.
    local at = settings.overflow_count .. ' at'
    redis.call('HSET', generation_key, at, redis.call('TIME')[1])
  end
end
if elsewhere then
  redis.call('ZREMRANGEBYSCORE', source, '-inf', now_ms() - elsewhere.keep_ms)
  redis.call('PEXPIRE', source, elsewhere.window_ms)
end
return { 'drained', fates, full and 1 or 0, cause, newly_blocked, abandoned, now_ms() }
