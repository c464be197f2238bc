-- Applies changes of a process, drops the members of dead ones, and publishes what has
-- changed unless something was published lately. It needs the function append().
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
