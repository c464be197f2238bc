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
