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
