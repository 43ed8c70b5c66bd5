--- `require "luaflow"`. Runs anywhere. The C module of that name gives the same table, made in
--- luaflow.door, so that there is one, however it is found.
return require "luaflow.door"
