if state.made then
  use()
  set_expiry()
end
return 'ok ' .. clock
