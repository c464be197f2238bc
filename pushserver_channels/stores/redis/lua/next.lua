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
