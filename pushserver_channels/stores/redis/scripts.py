"""The scripts that run inside Redis: an atomic one for each method of the store.

A channel is a stream of its messages, whose ids are exactly those of the protocol, and
a hash with these fields:

``made``
    1 if the channel exists; missing after it was deleted or removed.
``used``, ``asked``
    When it was last used, and when a subscriber last requested it.
``time``, ``tag``
    The id of its last message, kept or not.
``past_time``, ``past_tag``
    The last id it had before it was deleted or removed: ids continue from there.
``expiry_set``
    The second in which a kept message last set when Redis removes the messages and
    this hash. Others of the same second need not set it again.
``next_end``, ``mixed``
    If messages have a time limit of their own: the last second of the one that ends
    next; and 1 if others may have none. If all have one, Redis removes the stream after
    the last end. A sorted set beside the hash has the ids of these messages by their
    last second. It exists only for such channels, so its key is built where it is used.

A channel on which nobody has published, and that no publisher has created, has no keys:
requests of subscribers write nothing there, or anybody could fill Redis. To publishers
it exists while subscribers wait on it, and for a while in a process in which they asked
for it, which knows that by itself.

The hash outlives the channel by :data:`GRACE` seconds. Until then a channel that is
created again continues from its last id: the ids increase even if the clock was set
back, and a client from before is told of a gap. A request of a subscriber is enough to
create it then. Of a channel without a hash it is only
known that its messages, if it had any, are older than GRACE. So the previous id of its
first message is an id of that age.

A message with an idempotency key leaves a receipt, in a key of its own beside the hash.
As long as it is there, the same again is answered with it.

A store that is new, was emptied or may have lost its newest messages writes a mark, an
id that no message has. All ids that it gave before are older, and all that it gives
from then on are newer, so a client that comes back is told of a gap. The key has the
mark's time, the run of Redis in which it was written, and the mark's tag: microseconds,
so that a store that is emptied twice in a second does not write one mark twice. (The
first release reads no tag, and takes it for 0.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha1

from pushserver.conf import RedisStoreSettings

from .presence_scripts import make_presence_scripts
from .resp import pack

#: Seconds for which the last id of a channel is kept after the channel was removed.
GRACE = 3600

# A Redis that is full runs no script without this flag. These scripts free memory
# before they write. (With it, Redis does not refuse their writes.)
_ALLOWED_WHEN_FULL = "#!lua flags=allow-oom\n"

# Each script gets the keys of a channel, its topic, and words: the time (or "now" for
# the server's clock), the number of its listeners that do not keep it alive, the run of
# Redis ("-" if it is not known or does not matter), and the words of this script.
_BEGIN = """
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
"""

_APPEND = """
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
local listener_count = redis.call(PUBLISH, topic, head .. '\\n' .. kind .. body)
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
"""

_NEXT = """
expire()
local create, start, limit, max_size =
  string.match(words, '^(%S+) (%S+) (%S+) (%S+)')
if not find(create == '1') then
  return 'none ' .. clock
end
if record('asked', clock) then
  state.asked = now
end
limit, max_size = tonumber(limit), tonumber(max_size)
local entries, size = {}, 0
repeat
  -- A few at a time: all of them may be more than is wanted.
  local count = math.min(limit - #entries, 10)
  local some = redis.call('XRANGE', messages, start, '+', 'COUNT', count)
  for _, entry in ipairs(some) do
    if size < max_size or #entries == 0 then
      table.insert(entries, entry)
      size = size + #entry[2][8]
      start = '(' .. entry[1]
    end
  end
until #some < count or #entries == limit or size >= max_size
if #entries > 0 then
  return {describe(0), unpack(entries)}
end
local mark_time, mark_tag = read_mark(true)
return describe(0, mark_time .. '-' .. mark_tag)
"""

_POSITION = """
expire()
local create, newest = string.match(words, '^(%S+) (%S+)')
if not find(create == '1') then
  return 'none ' .. clock
end
if record('asked', clock) then
  state.asked = now
end
newest = tonumber(newest)
local previous = '0-0'
if newest > 0 then
  local entries = redis.call('XREVRANGE', messages, '+', '-', 'COUNT', newest)
  if #entries == newest then
    previous = entries[newest][2][4]
  end
end
return describe(0, previous)
"""

_INFO = """
expire()
if not is_there(words) then
  return 'none ' .. clock
end
record()
local listener_count = listeners()
find_asked(words, listener_count)
return describe(listener_count)
"""

_CREATE = """
expire()
find(true)
local listener_count = listeners()
local asked = find_asked(words, listener_count)
if asked then
  use('asked', asked)
else
  use()
end
set_expiry()
return describe(listener_count)
"""

_DELETE = """
expire()
local token, age = string.match(words, '^(%S+) (%S+)')
if not is_there(age) then
  return 'none ' .. clock
end
local listener_count = redis.call(PUBLISH, topic, 'deletion ' .. token)
find_asked(age, listener_count)
local known = describe(listener_count)
if not (state.time or state.past_time) then
  -- It is noted that the channel was deleted, or it would seem to exist until those
  -- who waited there have left.
  state.past_time, state.past_tag = math.max(second - GRACE, 0), 0
end
forget()
return known
"""

_TOUCH = """
if state.made then
  use()
  set_expiry()
end
return 'ok ' .. clock
"""

_NAMES = {
    "append": _APPEND,
    "next": _NEXT,
    "position": _POSITION,
    "info": _INFO,
    "create": _CREATE,
    "delete": _DELETE,
    "touch": _TOUCH,
    **make_presence_scripts(_APPEND),
}

#: The scripts that Redis does not run when it is full.
_APPENDING = ("append", "presence")


@dataclass(frozen=True, eq=False)
class Script:
    """A script.

    Attributes:
        text: Its source.
        digest: The name by which Redis knows it once it was sent.
        packed_text: The beginning of a command that sends it in full.
        packed_digest: The same for a Redis that knows it.
    """

    text: str
    digest: str = field(init=False, repr=False)
    packed_text: bytes = field(init=False, repr=False)
    packed_digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        digest = sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)
        object.__setattr__(self, "packed_text", pack("EVAL", self.text))
        object.__setattr__(self, "packed_digest", pack("EVALSHA", digest))


def make_scripts(
    settings: RedisStoreSettings, *, sharded: bool
) -> Mapping[str, Script]:
    """Return the scripts by name, for the limits of a store."""
    constants = {
        "MIN_MESSAGES": settings.min_messages,
        "MAX_MESSAGES": settings.max_messages,
        "MESSAGE_TIMEOUT": settings.message_timeout,
        "CHANNEL_TIMEOUT": settings.channel_timeout,
        "GRACE": GRACE,
        "PUBLISH": "'SPUBLISH'" if sharded else "'PUBLISH'",
        "NUMSUB": "'SHARDNUMSUB'" if sharded else "'NUMSUB'",
    }
    limits = "".join(f"local {name} = {value}\n" for name, value in constants.items())
    texts = {
        name: ("#!lua\n" if name in _APPENDING else _ALLOWED_WHEN_FULL)
        + limits
        + _BEGIN
        + script
        for name, script in _NAMES.items()
    }
    return {name: Script(text) for name, text in texts.items()}
