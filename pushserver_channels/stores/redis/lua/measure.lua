-- Gets two keys for each channel: that of its messages and that of its hash; the time
-- (or "now" for the server's clock), the window of the rate, and the timeout. A channel
-- that does not exist, or that the next request would remove, has an empty answer.
local now, window, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local timeout = tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local start = string.format('%d', math.max(math.floor(now - window) + 1, 0))
local found = {}
for index = 1, #KEYS, 2 do
  local messages = KEYS[index]
  local fields = redis.call('HMGET', KEYS[index + 1], 'made', 'used', 'time', 'tag')
  local count = redis.call('XLEN', messages)
  local used = tonumber(fields[2] or 0)
  local told = ''
  if count > 0 or (fields[1] and (timeout == 0 or now - used < timeout)) then
    local time, recent, oldest = tonumber(fields[3] or 0), 0, 0
    if limit == 0 or time < tonumber(start) then
      -- No rate is wanted, or there is none.
    elseif count == 1 and limit > 1 then
      recent, oldest = 1, string.format('%d', time)
    else
      local entries =
        redis.call('XREVRANGE', messages, '+', start, 'COUNT', limit)
      recent = #entries
      oldest = recent > 0 and string.match(entries[recent][1], '^%d+') or 0
    end
    told = count .. ' ' .. string.format('%d', time) .. ' ' .. (fields[4] or 0)
      .. ' ' .. recent .. ' ' .. oldest
  end
  found[#found + 1] = told
end
found[#found + 1] = string.format('%.3f', now)
return found
