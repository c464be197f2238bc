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
