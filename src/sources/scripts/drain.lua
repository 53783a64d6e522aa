-- Publishes entries of sources and removes them, one after the other. Returns one of
--   { 'stale_generation' }
--   { 'drained', now, outcome, … }   the present in ms, then for each source one of
--     { 'refused', why }      nothing can be removed, so nothing was published
--     { 'stale_read' }        its entries were read too long ago
--     { 'drained', fates, full, cause, blocked, abandoned }
-- with a fate for each entry (see below), 1 if the source was at its capacity, the error that
-- left something in the source ('' = there was none), the channels of entries newly left, and the
-- members under which senders find groups that nobody holds.
--
-- Fates: 'sent', 'parked' until an instance listens, 'no_listener', 'removed' without being
-- published, 'taken_elsewhere' by another drainer, 'left_in_source'.
--
-- KEYS: generation, instances, terms, parking (see listening.lua and parking.lua), the stream of
-- what is set aside, what is under way (see look.lua), then what tables name by place.
-- ARGV: packed tables.
-- The first:
--   generation     the generation that this instance knows
--   control        the channel on which possible losses are announced
--   random         random part of new epochs
--   max_parked     publications that may be parked for a group
--   parked_ms      how long they stay parked
--   instance_stem  of the channels of instances
-- Then for each source one, and behind it one for each of its entries. A source:
--   key            its place in KEYS
--   type           'set', 'stream', or 'elsewhere': a set on another server. Then the key is a set
--                  of marks, by ms, of the entries that were drained
--   elsewhere      of a source elsewhere, a list of one table:
--     length       entries in it when it was read
--     read_ms      when it was read, at the latest, by this server's clock
--     max_age_ms   how long ago that may be
--     keep_ms      marks that are older may go
--     window_ms    how long any mark may be needed
--   count          of its entries that follow
--   capacity       entries at which senders drop messages (nil = they never do)
--   loss           the envelope that announces possible losses
--   overflow_count field of the generation that counts such losses (nil = none does)
--   blocked        channels of the entries left in front of these
-- An entry: its key in the source and its publications; set_aside and content, why it is set aside
-- and what is kept of it (nil = it is not). A publication:
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
local settings = cmsgpack.unpack(ARGV[1])

local sources, keys = {}, {}
local at = 2
while at <= #ARGV do
  local source = cmsgpack.unpack(ARGV[at])
  source.key, source.first = KEYS[source.key], at + 1
  sources[#sources + 1], keys[#keys + 1] = source, source.key
  at = at + 1 + source.count
end

-- Whatever follows, no process has ended by decoding these. It takes no memory.
redis.pcall('HDEL', KEYS[6], unpack(keys))

if not is_current_generation(generation_key, settings.generation) then
  return { 'stale_generation' }
end

local receiving = receiving_instances(KEYS[2], KEYS[3], settings.instance_stem)

local function parked_for(publication)
  return {
    parking = KEYS[4], channel = publication.channel,
    parked = KEYS[publication.parked], mark = KEYS[publication.parked_mark],
  }
end

-- Members under which senders find groups that nobody holds, of the source at hand.
local abandoned
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

-- Of the source at hand: channels of entries left (later entries for them are left, too, to keep
-- the order), those that are new among them, the error, and whether a publication is lost.
local blocked, newly_blocked, cause, torn

local function try_publishing(publication)
  local ok, outcome = pcall(publish[publication.kind], publication)
  if ok then return outcome end
  cause = type(outcome) == 'table' and outcome.err or tostring(outcome)
  return 'left_in_source'
end

local function is_delivered(fate) return fate == 'sent' or fate == 'parked' end

-- Publishes all publications of an entry. It counts as sent if one of its targets has a listener.
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

local function set_aside(source, entry)
  redis.pcall('XADD', KEYS[5], 'MAXLEN', MAX_SET_ASIDE, '*', 'source', source,
    'why', entry.set_aside, 'entry', entry.content)
end

local function set(source)
  return {
    try_removing = function() return redis.pcall('ZREM', source, '') end,
    contains = function(key) return redis.call('ZSCORE', source, key) end,
    remove = function(key) redis.call('ZREM', source, key) end,
    length = function() return redis.call('ZCARD', source) end,
  }
end

local function stream(source)
  return {
    try_removing = function() return redis.pcall('XDEL', source, '0-0') end,
    contains = function(key) return #redis.call('XRANGE', source, key, key) > 0 end,
    remove = function(key) redis.call('XDEL', source, key) end,
    length = function() return redis.call('XLEN', source) end,
  }
end

-- An entry that is marked was published, and is to be removed from its own server.
local function marks(source, elsewhere)
  local function mark(key) redis.call('ZADD', source, now_ms(), key) end
  return {
    try_removing = set(source).try_removing,
    contains = function(key)
      local is_marked = redis.call('ZSCORE', source, key)
      if is_marked then mark(key) end
      return not is_marked
    end,
    remove = mark,
    length = function() return elsewhere.length end,
  }
end

local types = { set = set, stream = stream, elsewhere = marks }

-- Publishes and removes the entries of a source; returns their fates.
local function drain_entries(source, entries)
  local fates = {}
  for index = source.first, source.first + source.count - 1 do
    local entry = cmsgpack.unpack(ARGV[index])
    local fate = 'taken_elsewhere'
    if entries.contains(entry.key) then
      fate = deliver(entry.publications)
      if fate == 'left_in_source' then
        block(entry.publications)
      else
        if entry.set_aside then set_aside(source.key, entry) end
        entries.remove(entry.key)
      end
    end
    fates[#fates + 1] = fate
  end
  return fates
end

local function announce_loss(source)
  redis.call('PUBLISH', settings.control, source.loss)
  if source.overflow_count then
    redis.call('HINCRBY', generation_key, source.overflow_count, 1)
    -- The second, for positions before any publication.
    local at = source.overflow_count .. ' at'
    redis.call('HSET', generation_key, at, redis.call('TIME')[1])
  end
end

local function drain(source)
  local elsewhere = source.elsewhere and source.elsewhere[1]
  if elsewhere and now_ms() - elsewhere.read_ms > elsewhere.max_age_ms then
    return { 'stale_read' }
  end
  local entries = types[source.type](source.key, elsewhere)
  -- Checks that removing is allowed before anything is published. As the first command that
  -- writes, it also lifts the check of 'maxmemory', which would otherwise refuse to move data from
  -- one key to another.
  local allowed = entries.try_removing()
  if type(allowed) == 'table' and allowed.err then return { 'refused', allowed.err } end
  local full = source.capacity and entries.length() >= source.capacity
  blocked, newly_blocked, cause, torn, abandoned = {}, {}, '', false, {}
  for _, channel in ipairs(source.blocked) do blocked[channel] = true end
  local fates = drain_entries(source, entries)
  -- Follows the entries that were in the source when senders dropped theirs.
  if full or torn then announce_loss(source) end
  if elsewhere then
    redis.call('ZREMRANGEBYSCORE', source.key, '-inf', now_ms() - elsewhere.keep_ms)
    redis.call('PEXPIRE', source.key, elsewhere.window_ms)
  end
  return { 'drained', fates, full and 1 or 0, cause, newly_blocked, abandoned }
end

local reply = { 'drained', now_ms() }
for index, source in ipairs(sources) do reply[index + 2] = drain(source) end
return reply
