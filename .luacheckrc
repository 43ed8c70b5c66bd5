-- luacheck's settings for the Lua library, the flows and the tests.
std = "luajit"
max_line_length = 120

ignore = {
  "212/self",   -- a step and a method take it, needed or not
  "212/inputs", -- is what makes a step a join
}

files["tests/spec"] = { std = "+busted" }

-- Only says what there is.
files["lua/library"] = { ignore = { "212", "241" } }
