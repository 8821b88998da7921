"""What Valkey does for boards in one step each, as Lua.

Every script is versioned by its text. All keys of a board share a hash tag, so a script finds them on one node of a
cluster. A board has

- `meta`, a hash: `layout` says how its sets are written; without it the board is not complete and nobody reads it.
  `run` is the server's run when the board was built: a server that started anew may have lost the last second, so a
  board of another run is built again. `as_of` is the moment, in microseconds, up to which everything committed is in
  the sets. `version` rises with every change. `fence` is the token of the newest writer; older ones are refused.
- `sets`, the names of its sets.
- for each set a sorted set of entries, and a hash from the member to its entry's moment and its name.

An entry is the moment of the score (8 bytes) and the member (16 bytes): equal scores stand in lexicographic order of
their entries, which is who came first, and then the member.
"""

from __future__ import annotations

from typing import Final

from rewards.valkey import Script

CHANGED_CHANNEL: Final = "rewards:boards:changed"
"""Where the tag of a board is published when it has changed."""

FENCED: Final = -1
INCOMPLETE: Final = -2

_OWN: Final = """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local meta = redis.call('HMGET', KEYS[1], 'fence', 'layout', 'run', 'version')
"""

# KEYS: meta, or any other key of the board.
RUN: Final = Script(_OWN + "return run")

# KEYS: meta, sets, entries, members. ARGV: fence, layout, name of the set, then (member, moment, score, name) each; an
# empty moment takes the member out. Returns how many changed.
WRITE: Final = Script(
    _OWN
    + """
if meta[1] and meta[1] > ARGV[1] then return -1 end
if meta[2] ~= ARGV[2] or meta[3] ~= run then return -2 end
local changed = 0
for i = 4, #ARGV, 4 do
  local member, moment = ARGV[i], ARGV[i + 1]
  local old = redis.call('HGET', KEYS[4], member)
  local was = old and string.sub(old, 1, 8)
  local differs = 0
  if was and was ~= moment then
    redis.call('ZREM', KEYS[3], was .. member)
    differs = 1
  end
  if moment == '' then
    if old then redis.call('HDEL', KEYS[4], member) end
  else
    if old ~= moment .. ARGV[i + 3] then
      redis.call('HSET', KEYS[4], member, moment .. ARGV[i + 3])
      differs = 1
    end
    if redis.call('ZADD', KEYS[3], 'CH', ARGV[i + 2], moment .. member) == 1 then differs = 1 end
  end
  changed = changed + differs
end
redis.call('HSET', KEYS[1], 'fence', ARGV[1])
if changed > 0 then
  redis.call('SADD', KEYS[2], ARGV[3])
  local clock = redis.call('TIME')
  local version = math.max(clock[1] * 1000000 + clock[2], tonumber(meta[4] or 0) + 1)
  redis.call('HSET', KEYS[1], 'version', string.format('%.0f', version))
  redis.call('PUBLISH', '"""
    + CHANGED_CHANNEL
    + """', string.match(KEYS[1], '{.-}'))
end
return changed
"""
)

# KEYS: meta. ARGV: layout, as_of. Everything committed until then is in the sets, if they are still what was written.
VOUCH: Final = Script(
    _OWN
    + """
if meta[2] ~= ARGV[1] or meta[3] ~= run then return -2 end
local known = tonumber(redis.call('HGET', KEYS[1], 'as_of') or 0)
if tonumber(ARGV[2]) > known then redis.call('HSET', KEYS[1], 'as_of', ARGV[2]) end
return 0
"""
)

# KEYS: meta, sets, then for each set the two that were built and the two that they replace. ARGV: fence, layout, as_of,
# run, the tag of all keys, then the name of each set. Sets that were not built again are gone afterwards.
INSTALL: Final = Script(
    _OWN
    + """
if meta[1] and meta[1] > ARGV[1] then return -1 end
if run ~= ARGV[4] then return -2 end
local built = {}
for i = 6, #ARGV do built[ARGV[i]] = true end
for i = 3, #KEYS, 4 do
  if redis.call('EXISTS', KEYS[i], KEYS[i + 1]) ~= 2 then return -2 end
end
for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  if not built[name] then redis.call('UNLINK', ARGV[5] .. 'entries/' .. name, ARGV[5] .. 'members/' .. name) end
end
redis.call('UNLINK', KEYS[2])
for i = 3, #KEYS, 4 do
  redis.call('UNLINK', KEYS[i + 2], KEYS[i + 3])
  for step = 0, 1 do
    redis.call('RENAME', KEYS[i + step], KEYS[i + 2 + step])
    redis.call('PERSIST', KEYS[i + 2 + step])
  end
end
for i = 6, #ARGV do redis.call('SADD', KEYS[2], ARGV[i]) end
local clock = redis.call('TIME')
local version = math.max(clock[1] * 1000000 + clock[2], tonumber(meta[4] or 0) + 1)
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'layout', ARGV[2], 'as_of', ARGV[3], 'run', run,
  'version', string.format('%.0f', version))
redis.call('PUBLISH', '"""
    + CHANGED_CHANNEL
    + """', string.match(KEYS[1], '{.-}'))
return 0
"""
)

# KEYS: sets, entries, members. ARGV: name of the set, milliseconds. The period is over and its result is elsewhere.
RETIRE: Final = Script("""
redis.call('SREM', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return redis.call('PEXPIRE', KEYS[3], ARGV[2])
""")

# KEYS: meta, entries, members. ARGV: layout, …. Answers false for a board that is not complete. A page is one string,
# since a client takes longer to read many short values: of each entry the score as a double, the length of the name in
# two bytes, the entry and the name.
_READ: Final = """
local meta = redis.call('HMGET', KEYS[1], 'layout', 'as_of', 'version')
if meta[1] ~= ARGV[1] then return false end
local total = redis.call('ZCARD', KEYS[2])
local function page(first, last)
  local found = redis.call('ZRANGE', KEYS[2], first, last, 'WITHSCORES')
  if #found == 0 then return {meta[2], meta[3], total, first, 0, ''} end
  local members = {}
  for i = 1, #found, 2 do members[#members + 1] = string.sub(found[i], 9) end
  local before = redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. found[2])
  local names = redis.call('HMGET', KEYS[3], unpack(members))
  for i = 1, #names do
    local name = string.sub(names[i], 9)
    names[i] = struct.pack('>dI2', tonumber(found[2 * i]), #name) .. found[2 * i - 1] .. name
  end
  return {meta[2], meta[3], total, first, before, table.concat(names)}
end
local function entry_of(member)
  local known = redis.call('HGET', KEYS[3], member)
  return known and string.sub(known, 1, 8) .. member, known
end
"""

# … offset, how many.
PAGE: Final = Script(_READ + "return page(tonumber(ARGV[2]), ARGV[2] + ARGV[3] - 1)")

# … member, how many on each side. A member who is not in the set gets a page of nothing.
AROUND: Final = Script(
    _READ
    + """
local entry = entry_of(ARGV[2])
if not entry then return {meta[2], meta[3], total, 0, 0, ''} end
local position = redis.call('ZRANK', KEYS[2], entry)
return page(math.max(0, position - ARGV[3]), position + ARGV[3])
"""
)

# … members. For each: position, how many are strictly before, score, what is known of it, and the two scores before it:
# of the entry right before, and of the nearest with another score with how many are strictly before that.
STANDINGS: Final = Script(
    _READ
    + """
local rows = {}
for i = 2, #ARGV do
  local entry, known = entry_of(ARGV[i])
  if entry then
    local position = redis.call('ZRANK', KEYS[2], entry)
    local score = redis.call('ZSCORE', KEYS[2], entry)
    local before = redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. score)
    local neighbour, better, beyond = {}, {}, 0
    if position > 0 then neighbour = redis.call('ZRANGE', KEYS[2], position - 1, position - 1, 'WITHSCORES') end
    if before > 0 then
      better = redis.call('ZRANGE', KEYS[2], before - 1, before - 1, 'WITHSCORES')
      beyond = redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. better[2])
    end
    rows[#rows + 1] = {ARGV[i], position, before, score, known, neighbour[2] or false, better[2] or false, beyond}
  end
end
return {meta[2], meta[3], total, rows}
"""
)

# … members. For each that is in the set: the member, what is known of it, and the score of its entry.
SCORES: Final = Script(
    _READ
    + """
local rows = {}
for i = 2, #ARGV do
  local entry, known = entry_of(ARGV[i])
  if entry then rows[#rows + 1] = {ARGV[i], known, redis.call('ZSCORE', KEYS[2], entry)} end
end
return rows
"""
)
