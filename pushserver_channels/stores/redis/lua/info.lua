expire()
if not is_there(words) then
  return 'none ' .. clock
end
record()
local listener_count = listeners()
find_asked(words, listener_count)
return describe(listener_count)
