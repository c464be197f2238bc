-- Begins each script of a channel. It gets the keys of the channel, its topic, and words:
-- the time (or "now" for the server's clock), the number of its listeners that do not
-- keep it alive, the run of Redis ("-" if it is not known or does not matter), and the
-- words of the script.
local messages, channel, mark, topic = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local now, uncounted, run, words = string.match(ARGV[2], '^(%S+) (%S+) (%S+) ?(.*)$')
local clock = now
if now == 'now' then
  local time = redis.call('TIME')
  clock = time[1] .. '.' .. string.sub('00000' .. time[2], -6)
end
now, uncounted = tonumber(clock), tonumber(uncounted)
local second = math.floor(now)

local fields = redis.call(
  'HMGET', channel, 'made', 'used', 'asked', 'time', 'tag', 'expiry_set',
  'next_end', 'mixed'
)
local state = {
  made = fields[1], used = tonumber(fields[2]), asked = tonumber(fields[3]),
  time = tonumber(fields[4]), tag = tonumber(fields[5]),
  expiry_set = tonumber(fields[6]), next_end = tonumber(fields[7]),
  mixed = fields[8]
}
if not state.time then
  fields = redis.call('HMGET', channel, 'past_time', 'past_tag')
  state.past_time, state.past_tag = tonumber(fields[1]), tonumber(fields[2])
end

local function listeners()
  return redis.call('PUBSUB', NUMSUB, topic)[2]
end

-- Returns the key of a channel: of the kind "channel" in place of "messages".
local function key_of(kind)
  local prefix = string.sub(mark, 1, -6)  -- Without ":mark".
  return prefix .. ':' .. kind .. string.sub(messages, #prefix + 10)
end

-- Records when the next message ends that has a time limit of its own, if any has.
local function set_next_end(ends)
  local first = redis.call('ZRANGE', ends, 0, 0, 'WITHSCORES')
  state.next_end = tonumber(first[2])
  if first[2] then
    redis.call('HSET', channel, 'next_end', first[2])
  else
    redis.call('HDEL', channel, 'next_end', 'mixed')
    state.mixed = nil
  end
end

-- Drops the messages whose own time limit has passed.
local function drop_ended()
  local ends = key_of('ends')
  local ended = redis.call('ZRANGEBYSCORE', ends, '-inf', '(' .. second)
  for first = 1, #ended, 1000 do
    local last = math.min(first + 999, #ended)
    redis.call('XDEL', messages, unpack(ended, first, last))
  end
  redis.call('ZREMRANGEBYSCORE', ends, '-inf', '(' .. second)
  if redis.call('XLEN', messages) == 0 then
    redis.call('DEL', messages)
  end
  set_next_end(ends)
end

-- Drops the messages that are too old. MESSAGE_TIMEOUT does not apply to the newest
-- MIN_MESSAGES.
local function expire()
  if state.next_end and second > state.next_end then
    drop_ended()
  end
  if MESSAGE_TIMEOUT == 0 then
    return
  end
  local oldest = math.max(math.ceil(second - MESSAGE_TIMEOUT), 0)
  if MIN_MESSAGES == 0 then
    redis.call('XTRIM', messages, 'MINID', '=', oldest)
    return
  end
  while true do
    local count = redis.call('XLEN', messages)
    local spare = math.min(count - MIN_MESSAGES, 100)
    if spare <= 0 then
      return
    end
    local gone =
      redis.call('XRANGE', messages, '-', '(' .. oldest .. '-0', 'COUNT', spare)
    if #gone == 0 then
      return
    end
    redis.call('XTRIM', messages, 'MAXLEN', '=', count - #gone)
  end
end

-- Drops the channel, and keeps its last id.
local function forget()
  redis.call('DEL', messages, channel)
  if state.next_end then
    redis.call('DEL', key_of('ends'))
  end
  local time, tag = state.time or state.past_time, state.tag or state.past_tag
  state = {past_time = time, past_tag = tag}
  if time then
    redis.call('HSET', channel, 'past_time', time, 'past_tag', tag)
    redis.call('EXPIRE', channel, GRACE)
  end
end

-- Creates a channel that has no hash.
local function begin()
  local newest = redis.call('XREVRANGE', messages, '+', '-', 'COUNT', 1)[1]
  if newest then
    -- Only the hash is missing: Redis may be configured to evict keys.
    local facts = redis.call('XINFO', 'STREAM', messages)
    local last_id = newest[1]
    for index = 1, #facts, 2 do
      if facts[index] == 'last-generated-id' then
        last_id = facts[index + 1]
      end
    end
    local time, tag = string.match(last_id, '(%d+)-(%d+)')
    state.time, state.tag = tonumber(time), tonumber(tag)
    redis.call('HSET', channel, 'time', time, 'tag', tag)
    set_next_end(key_of('ends'))
    if state.next_end then
      state.mixed = '1'
      redis.call('HSET', channel, 'mixed', 1)
    end
  end
end

-- Returns the mark's time and tag; if messages may have been lost, those of a new mark,
-- which is written unless the caller only reads.
local function read_mark(reads)
  local time, run_then, tag =
    string.match(redis.call('GET', mark) or '', '^(%d+) ?(%S*) ?(%d*)')
  local is_known = run == '-' or run_then == '' or run_then == run
  if not time or not is_known then
    time = math.max(second, tonumber(time or 0)) + 1
    tag = math.floor(now % 1 * 1000000)
    if not reads then
      redis.call('SET', mark, time .. ' ' .. run .. ' ' .. tag)
    end
  end
  return tonumber(time), tonumber(tag) or 0
end

-- Returns whether the channel exists or is to be created; forgets it if it is idle.
local function find(create)
  if state.made then
    if CHANNEL_TIMEOUT == 0
      or now - state.used < CHANNEL_TIMEOUT
      or redis.call('XLEN', messages) > 0
      or listeners() > uncounted
    then
      return true
    end
    forget()
  end
  if create and not state.past_time then
    begin()
  end
  return create
end

-- Returns whether the channel exists for a publisher who may not create it: also one
-- without keys on which subscribers wait, or that the process knows. Then age is the
-- time since a subscriber asked for it there, in seconds.
local function is_there(age)
  local has_keys = state.made or state.past_time
  if find(false) then
    return true
  end
  if has_keys or not (tonumber(age) or listeners() > uncounted) then
    return false
  end
  return find(true)
end

-- Records that the channel is used.
local function use(...)
  redis.call('HSET', channel, 'made', 1, 'used', clock, ...)
end

-- Sets how long the channel's hash is kept. Gets the time that its messages have left:
-- in milliseconds, -1 for ever, nil if it is not known.
local function set_expiry(left)
  if CHANNEL_TIMEOUT > 0 and not left then
    left = redis.call('PTTL', messages)
  end
  if CHANNEL_TIMEOUT == 0 or left == -1 then
    redis.call('PERSIST', channel)
  else
    left = math.max(left, math.ceil(CHANNEL_TIMEOUT * 1000))
    redis.call('PEXPIRE', channel, left + GRACE * 1000)
  end
end

-- Records that the channel is used, unless it has no keys.
local function record(...)
  if state.made or state.time or state.past_time then
    use(...)
    set_expiry()
    return true
  end
end

-- Finds out when a subscriber last asked for a channel that had no keys. Returns that,
-- to be written, or nil.
local function find_asked(age, listener_count)
  local ago = tonumber(age) or listener_count > uncounted and 0
  if ago and not state.made and not state.asked then
    state.asked = now - ago
    return string.format('%.6f', state.asked)
  end
end

-- Returns the channel info, and one more word if there is one.
local function describe(listener_count, word, count)
  local ago = -1
  if state.asked then
    ago = math.max(math.floor(now - state.asked), 0)
  end
  count = count or redis.call('XLEN', messages)
  return 'ok ' .. clock .. ' ' .. listener_count .. ' ' .. count .. ' ' .. ago
    .. ' ' .. (state.time or 0) .. ' ' .. (state.tag or 0)
    .. (word and ' ' .. word or '')
end
