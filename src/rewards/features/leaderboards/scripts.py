"""What Valkey does for boards in one step each, as Lua.

Every script is versioned by its text. All keys of a board share a hash tag, so a script finds them on one node of a
cluster. A board has

- `meta`, a hash: `layout` says how its sets are written; without it the board is not complete and nobody reads it.
  `run` is the server's run when the board was built: a server that started anew may have lost the last second, so a
  board of another run is built again. `as_of` is the moment, in microseconds, up to which everything committed is in
  the sets. `version` rises with every change. `fence` is the token of the newest writer; older ones are refused.
- `sets`, the names of its sets.
- for each set a sorted set of entries, and a hash from the member to its entry's moment and its name.

An entry is the moment of the score (8 bytes), the member (16 bytes) and the member's name: equal scores stand in
lexicographic order of their entries, which is who came first, and then the member. A page is read from the sorted set
alone, since looking up each name elsewhere took longer than all the rest.
"""

from __future__ import annotations

from typing import Final

from rewards.valkey import Script

CHANGED_CHANNEL: Final = "rewards:boards:changed"
"""Where the tag of a board is published when it has changed."""

FENCED: Final = -1
INCOMPLETE: Final = -2

# What is known of a member is the moment and the name of its entry.
_ENTRY: Final = """
local function entry(known, member) return string.sub(known, 1, 8) .. member .. string.sub(known, 9) end
"""

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
    + _ENTRY
    + """
if meta[1] and meta[1] > ARGV[1] then return -1 end
if meta[2] ~= ARGV[2] or meta[3] ~= run then return -2 end
local changed = 0
for i = 4, #ARGV, 4 do
  local member, moment = ARGV[i], ARGV[i + 1]
  local old = redis.call('HGET', KEYS[4], member)
  local new = moment .. ARGV[i + 3]
  local differs = 0
  if old and old ~= new then
    redis.call('ZREM', KEYS[3], entry(old, member))
    differs = 1
  end
  if moment == '' then
    if old then redis.call('HDEL', KEYS[4], member) end
  else
    if old ~= new then
      redis.call('HSET', KEYS[4], member, new)
      differs = 1
    end
    if redis.call('ZADD', KEYS[3], 'CH', ARGV[i + 2], entry(new, member)) == 1 then differs = 1 end
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

# KEYS: meta, sets. ARGV: the tag of all keys. The board is no more.
FORGET: Final = Script("""
for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  redis.call('UNLINK', ARGV[1] .. 'entries/' .. name, ARGV[1] .. 'members/' .. name)
end
return redis.call('UNLINK', KEYS[1], KEYS[2])
""")

# KEYS: meta, entries, members. ARGV: layout, then questions of three values each: what, and two that it takes.
#
#   page    offset, how many          {position of the first, how many have a better score, entry and score in turns}
#   around  member, how many aside    the same; of a member who is not in the set, with nothing in it
#   places  members one after another, ''   for each who is in the set: {member, position, how many have a better score,
#                                     score, what is known of it, and the two scores before it: of the entry right
#                                     before, and of the nearest with another score with how many have a better one}
#   scores  the same                  for each who is in the set: {member, what is known of it, score}
#
# Answers what all of them share (as_of, version, total), then each answer; false for a board that is not complete.
READ: Final = Script(
    _ENTRY
    + """
local call = redis.call
local meta = call('HMGET', KEYS[1], 'layout', 'as_of', 'version')
if meta[1] ~= ARGV[1] then return false end
local answers = {meta[2], meta[3], call('ZCARD', KEYS[2])}
local entries = KEYS[2]

local function better(score) return call('ZCOUNT', entries, '-inf', '(' .. score) end

local function page(first, last)
  local found = call('ZRANGE', entries, first, last, 'WITHSCORES')
  return {first, found[2] and better(found[2]) or 0, found}
end

local function around(member, aside)
  local known = call('HGET', KEYS[3], member)
  if not known then return {0, 0, {}} end
  local position = call('ZRANK', entries, entry(known, member))
  return page(math.max(0, position - aside), position + aside)
end

local function place(member)
  local known = call('HGET', KEYS[3], member)
  if not known then return nil end
  local position = call('ZRANK', entries, entry(known, member))
  local score = call('ZSCORE', entries, entry(known, member))
  local before = better(score)
  local neighbour, ahead, beyond = {}, {}, 0
  if position > 0 then neighbour = call('ZRANGE', entries, position - 1, position - 1, 'WITHSCORES') end
  if before == position then
    ahead = neighbour
  elseif before > 0 then
    ahead = call('ZRANGE', entries, before - 1, before - 1, 'WITHSCORES')
  end
  if ahead[2] then beyond = better(ahead[2]) end
  return {member, position, before, score, known, neighbour[2] or false, ahead[2] or false, beyond}
end

local function score(member)
  local known = call('HGET', KEYS[3], member)
  return known and {member, known, call('ZSCORE', entries, entry(known, member))}
end

local function each(members, look)
  local rows = {}
  for i = 1, #members, 16 do rows[#rows + 1] = look(string.sub(members, i, i + 15)) or nil end
  return rows
end

for i = 2, #ARGV, 3 do
  local what, first, second = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local answer
  if what == 'page' then answer = page(tonumber(first), first + second - 1)
  elseif what == 'around' then answer = around(first, tonumber(second))
  elseif what == 'places' then answer = each(first, place)
  else answer = each(first, score) end
  answers[#answers + 1] = answer
end
return answers
"""
)
