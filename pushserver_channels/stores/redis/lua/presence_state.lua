-- Returns who is on a channel: the number of named members and of others, and the named
-- ones, unless a page asks and there are too many; or whether one member is.
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
