local deadline, create, keep, token, since, once =
  string.match(words, '^(%S+) (%S+) (%S+) (%S+) (%S+) ?(.*)$')
local kind, body = ARGV[3], ARGV[4]
local age
create, age = string.match(create, '^(%d):?(%S*)')
-- The message's own time limit, in seconds.
local lifetime
if string.find(token, 'expires=', 1, true) and keep == '1' then
  lifetime = tonumber(string.match(token, '[;&]expires=([%d.]+)'))
end
if now > tonumber(deadline) then
  return 'late ' .. clock
end
-- The seconds for which a key counts, the subscribers that Redis does not count, the
-- key, and where its receipt is.
local period, uncounted_here, key, receipt
if once ~= '' then
  period, uncounted_here, key = string.match(once, '^(%S+) (%S+) (%S+)')
  receipt = key_of('receipt:' .. #key .. ':' .. key)
  local known = redis.call('GET', receipt)
  if known then
    return 'again ' .. clock .. ' ' .. known
  end
end
if state.expiry_set ~= second then
  expire()
end
if not (create == '1' and find(true) or is_there(age)) then
  return 'none ' .. clock
end
local mark_time, mark_tag = read_mark()
local mark_id = mark_time .. '-' .. mark_tag
if since ~= '0' and (keep == '1' or not receipt) then
  -- It was sent before. Perhaps it is there; perhaps it was, and was dropped since.
  local newest, is_lost = tonumber(state.time or state.past_time), false
  local expected = newest and newest .. '-' .. (state.tag or state.past_tag)
  for _, entry in ipairs(redis.call('XREVRANGE', messages, '+', since)) do
    if entry[2][2] == token then
      state.time, state.tag = string.match(entry[1], '(%d+)-(%d+)')
      return describe(listeners(), entry[2][4])
    end
    local previous = entry[2][4]
    -- The message that was between them may have been this one, which has expired.
    is_lost = is_lost or (lifetime and entry[1] ~= expected)
    expected = previous
    newest = previous ~= mark_id and tonumber(string.match(previous, '^%d+'))
  end
  if is_lost or (newest and newest >= tonumber(since)) then
    return 'late ' .. clock
  end
end
local last_time, last_tag = state.time or state.past_time, state.tag or state.past_tag
if not last_time then
  last_time, last_tag = math.max(second - GRACE, 0), 0
end
if mark_time > last_time or (mark_time == last_time and mark_tag > last_tag) then
  last_time, last_tag = mark_time, mark_tag
end
local previous = last_time .. '-' .. last_tag
if last_time >= second then
  state.time, state.tag = last_time, last_tag + 1
else
  state.time, state.tag = second, 0
end
local id = state.time .. '-' .. state.tag
local count
if keep == '1' then
  local entry = {id, 'token', token, 'previous', previous, 'type', kind, 'body', body}
  if MAX_MESSAGES == 0 then
    redis.call('XADD', messages, unpack(entry))
  else
    redis.call('XADD', messages, 'MAXLEN', '=', MAX_MESSAGES, unpack(entry))
  end
  count = redis.call('XLEN', messages)
end
local ends = lifetime and key_of('ends')
if lifetime then
  lifetime = math.ceil(lifetime)
  if MESSAGE_TIMEOUT > 0 and MIN_MESSAGES == 0 then
    lifetime = math.min(lifetime, math.floor(MESSAGE_TIMEOUT))
  end
  if count > 1 and not state.next_end then
    state.mixed = '1'
    redis.call('HSET', channel, 'mixed', 1)
  elseif count == 1 and state.mixed then
    state.mixed = nil
    redis.call('HDEL', channel, 'mixed')
  end
  redis.call('ZADD', ends, state.time + lifetime, id)
  if not state.next_end or state.time + lifetime < state.next_end then
    state.next_end = state.time + lifetime
    redis.call('HSET', channel, 'next_end', state.next_end)
  end
elseif count and state.next_end and not state.mixed then
  state.mixed = '1'
  redis.call('HSET', channel, 'mixed', 1)
end
if count and count > 1 and not state.next_end
  and state.expiry_set == second and state.time == second
then
  -- A message of this second has set the expiry. (One alone may be in a new stream.)
  use('time', state.time, 'tag', state.tag)
elseif not count then
  use('time', state.time, 'tag', state.tag)
  set_expiry()
elseif MESSAGE_TIMEOUT > 0 and MIN_MESSAGES == 0 then
  local left = state.time + math.floor(MESSAGE_TIMEOUT) + 1 - second
  redis.call('EXPIRE', messages, left)
  if lifetime then
    redis.call('EXPIRE', ends, left)
  end
  use('time', state.time, 'tag', state.tag, 'expiry_set', second)
  set_expiry(left * 1000)
elseif lifetime and not state.mixed then
  local last_end = redis.call('ZRANGE', ends, -1, -1, 'WITHSCORES')[2]
  local left = tonumber(last_end) + 1 - second
  redis.call('EXPIRE', messages, left)
  redis.call('EXPIRE', ends, left)
  use('time', state.time, 'tag', state.tag, 'expiry_set', second)
  set_expiry(left * 1000)
else
  redis.call('PERSIST', messages)
  if state.next_end then
    redis.call('PERSIST', key_of('ends'))
  end
  use('time', state.time, 'tag', state.tag, 'expiry_set', second)
  set_expiry(-1)
end
if count and MESSAGE_TIMEOUT > 0 and MIN_MESSAGES > 0 then
  expire()  -- Now an old message may no longer be among the newest MIN_MESSAGES.
  count = nil
end
local head = 'message ' .. token .. ' ' .. id .. ' ' .. previous .. ' ' .. #kind
local listener_count = redis.call(PUBLISH, topic, head .. '\n' .. kind .. body)
local asked = find_asked(age, listener_count)
if asked then
  redis.call('HSET', channel, 'asked', asked)
end
local answer = describe(listener_count, previous, count)
if receipt then
  local subscribers = math.max(listener_count + tonumber(uncounted_here), 0)
  local known = string.match(describe(subscribers, previous, count), '^ok %S+ (.*)$')
  redis.call('SET', receipt, known, 'EX', period)
end
return answer
