"""The scripts that keep who is on the channels, in the slot of each presence channel.

Beside the keys of the presence channel ``presence:room`` there are:

``presence:…``
    A hash with what is known of the channel: how many members are named (``named``) and
    how many are not (``others``); these numbers and the time as they were told last
    (``told_named``, ``told_others``, ``told``); whether only numbers are told
    (``counted``); whether something waits to be told (``pending``); the limit; and the
    processes that have members (``p:<process>``).
``presence-members:…``
    A hash of the members: how many processes have each, and what is told about it.
``presence-of-<process>:…``
    A hash of the members that a process has, with the grace of each.
``presence-changes:…``
    A hash of the named members whose change waits to be told: ``j`` has come, ``l`` has
    gone, ``r`` has come again or is told about anew, and what is told about it.

Each slot of a process has, in addition:

``presence-processes``
    A sorted set of the processes by the time at which each was last alive.
``presence-rooms:<process>``
    A set of the presence channels on which it has members.
``presence-flush``
    A sorted set of the presence channels with changes that wait to be told, by the time
    at which any process tells them, if the one that made them has not.
``presence-due``
    A sorted set of those that have members of dead processes, by the time at which the
    next of these members leaves.
``presence-late``
    A set of the processes whose channels are in the latter, because they seem dead.
``presence-slot``
    A hash: ``epoch``, by which a process sees that Redis has lost its data; ``run``,
    the run of Redis; ``beat``, when a process was last alive; and ``hold``, until when
    no process is taken for dead, because all were away or the clock was set. For each
    process it has the shortest grace of its members (``grace:<process>``).

All keys expire, if no process renews them.
"""

from __future__ import annotations

#: Seconds after which the keys of a channel expire that no process renews.
LIFETIME = 7200

#: Seconds after which a process that was not heard of counts as dead. Its members stay
#: for their grace after that.
LAG = 3

#: Seconds in which processes have to be heard of, after none was.
HOLD = 6

#: The most members of dead processes that are removed at once, which blocks Redis.
MOST_EXPIRED = 250

#: The most channels that a process is given to look after in a second.
MOST_DUE = 5000

_BEGIN = (
    f"""
local LIFETIME, LAG, HOLD = {LIFETIME}, {LAG}, {HOLD}
local MOST_EXPIRED, MOST_DUE = {MOST_EXPIRED}, {MOST_DUE}
"""
    + """
local function slot_key(kind)
  return string.sub(mark, 1, -6) .. ':' .. kind
end

local processes, slot = slot_key('presence-processes'), slot_key('presence-slot')
local room, members = key_of('presence'), key_of('presence-members')
local facts = {}

local function read_facts()
  local all = redis.call('HGETALL', room)
  for index = 1, #all, 2 do
    facts[all[index]] = all[index + 1]
  end
end

local function own_of(process)
  return key_of('presence-of-' .. process)
end

-- Returns how many processes have a member, and what is told about it.
local function find_member(member)
  local known = redis.call('HGET', members, member)
  if not known then
    return 0
  end
  local count, info = string.match(known, '^(%d+) (.*)$')
  return tonumber(count), info
end

-- Calls a function with each member of dead processes whose grace is over, up to a
-- number of them. Returns when that of the next is over.
local function each_expired(process, call, most)
  local hold = tonumber(redis.call('HGET', slot, 'hold') or 0)
  local next_end
  local done = 0
  for field in pairs(facts) do
    local other = string.match(field, '^p:(.*)$')
    if other and other ~= process then
      local beat = tonumber(redis.call('ZSCORE', processes, other) or 0)
      -- (A little earlier than they are looked for, as numbers are rounded there.)
      if now - beat > LAG - 0.01 then
        local entries = redis.call('HGETALL', own_of(other))
        for index = 1, #entries, 2 do
          local ends = math.max(beat + LAG + tonumber(entries[index + 1]), hold)
          if now >= ends and done < most then
            call(entries[index], other)
            done = done + 1
          else
            next_end = math.min(next_end or ends, ends)
          end
        end
      end
    end
  end
  return next_end
end

local function is_named(member)
  return string.sub(member, 1, 1) == 'u'
end
"""
)

#: Applies changes of a process, drops the members of dead ones, and publishes what has
#: changed unless something was published lately. It needs the function ``append``.
_APPLY = """
local process, limit, token, sweeps = string.match(words, '^(%S+) (%S+) (%S+) (%S+)')
read_facts()
if limit == '-' then
  limit = tonumber(facts.limit or 0)
else
  limit = tonumber(limit)
end
local changes, own = key_of('presence-changes'), own_of(process)
local counts = {
  named = tonumber(facts.named or 0), others = tonumber(facts.others or 0)
}
local is_counted, is_pending = facts.counted == '1', facts.pending == '1'
local transitions = {}
local id = string.sub(messages, #string.sub(mark, 1, -6) + 11)

-- Records that the change of a member has to be told.
local function record_change(member, kind, info)
  is_pending = true
  if is_counted or not is_named(member) then
    return
  end
  local before = string.sub(redis.call('HGET', changes, member) or '', 1, 1)
  if kind == 'l' and before == 'j' then
    redis.call('HDEL', changes, member)  -- Nobody was told of it.
    return
  elseif kind == 'j' and before == 'l' then
    kind = 'r'
  elseif kind == 'r' and before == 'j' then
    kind = 'j'
  end
  redis.call('HSET', changes, member, kind .. info)
end

-- Records that a member has come or gone.
local function pass(member, sign, info)
  local kind = is_named(member) and 'named' or 'others'
  counts[kind] = math.max(counts[kind] + (sign == '+' and 1 or -1), 0)
  record_change(member, sign == '+' and 'j' or 'l', info)
  table.insert(transitions, sign)
  table.insert(transitions, member)
  table.insert(transitions, info)
end

local function add(member, grace, info)
  local count, known = find_member(member)
  local is_new = redis.call('HSET', own, member, grace) == 1 or count == 0
  if info == '' then
    info = known or 'null'
  end
  if is_new or info ~= known then
    redis.call('HSET', members, member, (count + (is_new and 1 or 0)) .. ' ' .. info)
  end
  if count == 0 then
    pass(member, '+', info)
  elseif info ~= known then
    record_change(member, 'r', info)
  end
end

local function remove(member, from)
  if redis.call('HDEL', own_of(from), member) == 0 then
    return
  end
  local count, info = find_member(member)
  if count > 1 then
    redis.call('HSET', members, member, (count - 1) .. ' ' .. info)
  elseif count == 1 then
    redis.call('HDEL', members, member)
    pass(member, '-', info)
  end
end

-- Forgets a process that has no member here.
local function forget_process(other)
  redis.call('HDEL', room, 'p:' .. other)
  facts['p:' .. other] = nil
  redis.call('SREM', slot_key('presence-rooms:' .. other), id)
end

local shortest = math.huge
for index = 3, #ARGV, 3 do
  local member, grace, info = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  if grace == '' then
    remove(member, process)
  else
    add(member, grace, info)
    shortest = math.min(shortest, tonumber(grace))
  end
end
if shortest < math.huge then
  local known = redis.call('HGET', slot, 'grace:' .. process)
  if not known or shortest < tonumber(known) then
    redis.call('HSET', slot, 'grace:' .. process, shortest)
  end
end
local entries = redis.call('HLEN', own)
if entries > 0 then
  if not facts['p:' .. process] then
    facts['p:' .. process] = '1'
    redis.call('HSET', room, 'p:' .. process, 1)
    redis.call('ZADD', processes, 'NX', now, process)  -- Before its first beat.
  end
  redis.call('SADD', slot_key('presence-rooms:' .. process), id)
  redis.call('EXPIRE', slot_key('presence-rooms:' .. process), LIFETIME)
  redis.call('EXPIRE', own, LIFETIME)
elseif facts['p:' .. process] then
  forget_process(process)
end
local next_end
if sweeps == '1' then
  next_end = each_expired(process, remove, MOST_EXPIRED)
  for field in pairs(facts) do
    local other = string.match(field, '^p:(.*)$')
    if other and other ~= process and redis.call('EXISTS', own_of(other)) == 0 then
      forget_process(other)
    end
  end
end

-- Returns members as a JSON object, from pairs of a key and what is told about it.
local function build_members(pairs_of)
  local parts = {}
  for index = 1, #pairs_of, 2 do
    local key = cjson.encode(string.sub(pairs_of[index], 2))
    table.insert(parts, key .. ':{"info":' .. pairs_of[index + 1] .. '}')
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

-- Returns the message that tells the changes, nil if there is nothing to tell.
local function build_message()
  local was_counted = is_counted
  local most = was_counted and limit * NAMED_AGAIN or limit
  is_counted = limit > 0 and counts.named > most
  local numbers = '"others":' .. counts.others .. '}'
  if is_counted then
    if was_counted and tonumber(facts.told_named) == counts.named
      and tonumber(facts.told_others) == counts.others
    then
      return nil
    end
    return '{"type":"diff","count":' .. counts.named .. ',' .. numbers
  end
  if was_counted then
    local all, named = redis.call('HGETALL', members), {}
    for index = 1, #all, 2 do
      if is_named(all[index]) then
        table.insert(named, all[index])
        table.insert(named, (string.match(all[index + 1], '^%d+ (.*)$')))
      end
    end
    return '{"type":"state","members":' .. build_members(named) .. ',' .. numbers
  end
  local joins, leaves = {}, {}
  local all = redis.call('HGETALL', changes)
  for index = 1, #all, 2 do
    local kind, info = string.sub(all[index + 1], 1, 1), string.sub(all[index + 1], 2)
    local list = kind == 'l' and leaves or joins
    table.insert(list, all[index])
    table.insert(list, info)
  end
  if #all == 0 and tonumber(facts.told_others or 0) == counts.others then
    return nil
  end
  return '{"type":"diff","joins":' .. build_members(joins) .. ',"leaves":'
    .. build_members(leaves) .. ',' .. numbers
end

local told = tonumber(facts.told or 0)
if told > now + 1 then
  told = 0  -- The clock was set back.
end
local wait = ''
local due, flush = slot_key('presence-due'), slot_key('presence-flush')
if is_pending and now < told + INTERVAL then
  wait = string.format('%.3f', told + INTERVAL - now)
  -- If this process ends before, another one does it.
  redis.call('ZADD', flush, 'NX', told + INTERVAL + LAG, id)
  redis.call('EXPIRE', flush, LIFETIME)
else
  if is_pending then
    local body = build_message()
    redis.call('DEL', changes)
    redis.call('ZREM', flush, id)
    is_pending = false
    if body then
      local begin = string.format('%.6f 1 1 %s 0 ', now + 5, token)
      append(begin, {'', '', '=application/json', body})
      redis.call(
        'HSET', room, 'told', clock, 'told_named', counts.named,
        'told_others', counts.others
      )
    end
  end
end
if next_end then
  redis.call('ZADD', due, next_end, id)
  redis.call('EXPIRE', due, LIFETIME)
elseif sweeps == '1' then
  redis.call('ZREM', due, id)
end
redis.call(
  'HSET', room, 'named', counts.named, 'others', counts.others,
  'limit', limit, 'counted', is_counted and 1 or 0, 'pending', is_pending and 1 or 0
)
local is_empty = counts.named == 0 and counts.others == 0 and not is_pending
redis.call('EXPIRE', room, is_empty and 10 or LIFETIME)
redis.call('EXPIRE', members, LIFETIME)
if is_pending then
  redis.call('EXPIRE', changes, LIFETIME)
end
local has_more = next_end and next_end <= now and 1 or 0
local epoch = redis.call('HGET', slot, 'epoch') or ''
local answer = wait .. ',' .. entries .. ',' .. has_more .. ',' .. epoch
table.insert(transitions, 1, describe(0, answer))
return transitions
"""

#: Records that a process is alive. Returns the epoch, whether the process was known,
#: and the channels that it has to look after.
_BEAT = """
local process = string.match(words, '^(%S+)')
local late, due = slot_key('presence-late'), slot_key('presence-due')
local flush = slot_key('presence-flush')
local state = redis.call('HMGET', slot, 'epoch', 'beat', 'run', 'hold')
local epoch, beat, hold = state[1], tonumber(state[2]), tonumber(state[4])
local is_restarted = run ~= '-' and state[3] and state[3] ~= run
if not epoch or is_restarted then
  epoch = clock
end
if not beat or now - beat > LAG or now < beat - 1 or (hold and hold > now + HOLD) then
  hold = now + HOLD
end
if beat and now < beat - 1 then
  for _, other in ipairs(redis.call('ZRANGE', processes, 0, -1)) do
    redis.call('ZADD', processes, now, other)
  end
  for _, list in ipairs({flush, due}) do
    for _, each in ipairs(redis.call('ZRANGE', list, 0, -1)) do
      redis.call('ZADD', list, now, each)
    end
  end
end
local is_known = redis.call('ZSCORE', processes, process)
  and redis.call('SISMEMBER', late, process) == 0
redis.call('ZADD', processes, now, process)
redis.call('SREM', late, process)
redis.call('HSET', slot, 'epoch', epoch, 'beat', clock, 'hold', hold or 0)
if run ~= '-' then
  redis.call('HSET', slot, 'run', run)
end
if now >= (hold or 0) then
  local before = string.format('%.6f', now - LAG)
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', processes, '-inf', before)) do
    local rooms = slot_key('presence-rooms:' .. other)
    if redis.call('SADD', late, other) == 1 then
      local grace = tonumber(redis.call('HGET', slot, 'grace:' .. other) or 0)
      local ends = tonumber(redis.call('ZSCORE', processes, other)) + LAG + grace
      for _, each in ipairs(redis.call('SMEMBERS', rooms)) do
        redis.call('ZADD', due, 'LT', ends, each)
      end
    elseif redis.call('EXISTS', rooms) == 0 then
      redis.call('ZREM', processes, other)
      redis.call('SREM', late, other)
      redis.call('HDEL', slot, 'grace:' .. other)
    end
  end
end
local answer = {describe(0, epoch .. ',' .. (is_known and 1 or 0))}
for _, list in ipairs({flush, due}) do
  local some = redis.call('ZRANGEBYSCORE', list, '-inf', now, 'LIMIT', 0, MOST_DUE)
  for _, each in ipairs(some) do
    redis.call('ZADD', list, now + 2, each)  -- If this process ends before.
    table.insert(answer, each)
  end
end
for _, key in ipairs({processes, slot, late, due, flush}) do
  redis.call('EXPIRE', key, LIFETIME)
end
return answer
"""

#: Returns who is on a channel: the number of named members and of others, and the named
#: ones, unless a page asks and there are too many; or whether one member is.
_STATE = """
local for_page, member = string.match(words, '^(%S+)'), ARGV[3]
read_facts()
local gone = {}
if for_page ~= '1' then
  -- A page is told when they leave; until then they are there.
  each_expired(nil, function(expired)
    gone[expired] = (gone[expired] or 0) + 1
  end, math.huge)
end
if member then
  return {describe(0, ''), find_member(member) > (gone[member] or 0) and '1' or '0'}
end
if for_page == '1' then
  expire()
  find(true)
  if record('asked', clock) then
    state.asked = now
  end
end
local named, others = tonumber(facts.named or 0), tonumber(facts.others or 0)
for expired, count in pairs(gone) do
  if find_member(expired) <= count then
    if is_named(expired) then
      named = named - 1
    else
      others = others - 1
    end
  else
    gone[expired] = nil
  end
end
local limit = tonumber(facts.limit or 0)
local is_counted = facts.counted == '1' or (limit > 0 and named > limit)
local epoch = redis.call('HGET', slot, 'epoch') or ''
local answer = {
  describe(0, '0-' .. second .. ',' .. epoch), named .. '', others .. ''
}
if for_page == 'n' or (is_counted and for_page == '1') then
  return answer
end
table.insert(answer, 'named')
local all = redis.call('HGETALL', members)
for index = 1, #all, 2 do
  if is_named(all[index]) and not gone[all[index]] then
    table.insert(answer, string.sub(all[index], 2))
    table.insert(answer, (string.match(all[index + 1], '^%d+ (.*)$')))
  end
end
return answer
"""


def make_presence_scripts(append: str) -> dict[str, str]:
    """Return the scripts by name, without what all scripts of the store begin with.

    Args:
        append: The script that appends a message.
    """
    appending = f"local function append(words, ARGV)\n{append}end\n"
    limits = "local INTERVAL, NAMED_AGAIN = 1, 0.9\n"
    return {
        "presence": appending + _BEGIN + limits + _APPLY,
        "presence_beat": _BEGIN + _BEAT,
        "presence_state": _BEGIN + _STATE,
    }
