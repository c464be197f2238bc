-- Records that a process is alive. Returns the epoch, whether the process was known,
-- and the channels that it has to look after.
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
