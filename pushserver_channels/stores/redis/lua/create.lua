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
