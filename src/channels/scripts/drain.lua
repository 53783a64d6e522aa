-- Takes entries out of a source and sends what they say, one after the other. KEYS: generation, source.
-- ARGV: generation known, kind of the source (z or x), entries at which senders are turned away (0 =
-- never), control channel, what is to be said there of that, random part of new epochs, how many may
-- wait for a listener and for how many ms, the field that counts how often senders may have been turned
-- away from this source (empty = none does); the number of channels of which something was kept in front
-- of these entries, and their names; then the entries: what the source calls it, the number of parts,
-- and for each part thirteen values (see below).
-- Returns a letter for each entry, '1' if senders may have been turned away, why something was kept, and
-- the channels of what was kept; nothing if the generation is not the present one; or '!' and why nothing
-- can be removed.
--
-- p sent, w waits for a listener, u nobody listens, d removed without having been sent, g gone: somebody
-- else took it, k kept in its place.
if not is_current_generation(KEYS[1], ARGV[1]) then return {} end
local source, kind = KEYS[2], ARGV[2]

-- Whether removing is allowed is known before anything is sent. As the first that writes it also
-- lifts the check of 'maxmemory', which would stop what only moves data from one key to another.
local allowed
if kind == 'z' then allowed = redis.pcall('ZREM', source, '') else allowed = redis.pcall('XDEL', source, '0-0') end
if type(allowed) == 'table' and allowed.err then return { '!', allowed.err } end

local most = tonumber(ARGV[3])
local full = kind == 'z' and most > 0 and redis.call('ZCARD', source) >= most
local at, cause = 9, ''
local function argument()
  at = at + 1
  return ARGV[at]
end

local function exists(entry)
  if kind == 'z' then return redis.call('ZSCORE', source, entry) end
  return #redis.call('XRANGE', source, entry, entry) > 0
end

local function remove(entry)
  if kind == 'z' then redis.call('ZREM', source, entry) else redis.call('XDEL', source, entry) end
end

-- For a group that nobody listens to: waits for a moment if it is held, or was until lately.
local function wait(part)
  if redis.call('EXISTS', part.held) == 0 then
    if part.key ~= '' then redis.call('ZREM', part.key, part.member) end
    return 'u'
  end
  if redis.call('LLEN', part.waiting) >= tonumber(ARGV[7]) then return 'k' end
  redis.call('RPUSH', part.waiting, string.format('%.0f\n', now_ms()) .. part.envelope)
  redis.call('PEXPIRE', part.waiting, ARGV[8])
  return 'w'
end

local send = {}

-- A group without history.
function send.g(part)
  if redis.call('EXISTS', part.waiting) == 1 then
    if listeners(part.channel) == 0 then return wait(part) end
    release(part.channel, part.waiting)
  end
  if redis.call('PUBLISH', part.channel, part.envelope) > 0 then return 'p' end
  return wait(part)
end

-- A group with history.
function send.h(part)
  local _, _, heard = append_and_publish(ARGV[1], part, part.channel, part.envelope)
  if heard == 0 and part.key ~= '' and redis.call('EXISTS', part.held) == 0 then
    redis.call('ZREM', part.key, part.member)
  end
  return 'p'
end

-- A connection: there or not.
function send.c(part)
  return redis.call('PUBLISH', part.channel, part.envelope) > 0 and 'p' or 'u'
end

-- A user or all: every instance listens, unless it is just coming back.
function send.a(part)
  return redis.call('PUBLISH', part.channel, part.envelope) > 0 and 'p' or 'k'
end

-- Of these something was kept: what comes later for the same must not overtake it.
local stuck, newly = {}, {}
for _ = 1, tonumber(argument()) do stuck[argument()] = true end

local function next_part()
  return {
    kind = argument(), channel = argument(), envelope = argument(), held = argument(),
    waiting = argument(), key = argument(), member = argument(),
    numbering = argument(), log = argument(), size = argument(), log_ms = argument(),
    numbering_ms = argument(), overflow_field = argument(), random = ARGV[6],
    generation_key = KEYS[1],
  }
end

-- Sends an entry to all it is for.
local torn = false
local function deliver(parts)
  for _, part in ipairs(parts) do
    if stuck[part.channel] then return 'k' end
  end
  local letter = 'd'
  for _, part in ipairs(parts) do
    local well, outcome = pcall(send[part.kind], part)
    if not well then
      cause = type(outcome) == 'table' and outcome.err or tostring(outcome)
      outcome = 'k'
    end
    if outcome == 'k' then
      if letter ~= 'p' and letter ~= 'w' then return 'k' end
      -- The others have it, and would have it twice: this part is lost, and told.
      torn = true
    elseif outcome == 'p' or (letter ~= 'p' and letter ~= 'w') then
      -- One listener of several is enough.
      letter = outcome
    end
  end
  return letter
end

local letters = {}
while at < #ARGV do
  local entry, parts = argument(), {}
  for i = 1, tonumber(argument()) do parts[i] = next_part() end
  local letter = 'g'
  if exists(entry) then letter = deliver(parts) end
  if letter == 'k' then
    for _, part in ipairs(parts) do
      if not stuck[part.channel] then newly[#newly + 1] = part.channel end
      stuck[part.channel] = true
    end
  elseif letter ~= 'g' then
    remove(entry)
  end
  letters[#letters + 1] = letter
end
-- Behind what was there when they were turned away.
if full or torn then
  redis.call('PUBLISH', ARGV[4], ARGV[5])
  if ARGV[9] ~= '' then redis.call('HINCRBY', KEYS[1], ARGV[9], 1) end
end
local answer = { table.concat(letters), full and '1' or '0', cause }
for _, channel in ipairs(newly) do answer[#answer + 1] = channel end
return answer
