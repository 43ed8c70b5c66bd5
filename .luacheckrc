-- luacheck's settings for the Lua library, the flows and the tests.
std = "luajit"
max_line_length = 120

ignore = {
  "212/self",   -- a step and a method take it, needed or not
  "212/inputs", -- is what makes a step a join
}

files["tests/spec"] = { std = "+busted" }

-- Each is run by a host that has a global of its own.
files["examples/love"] = { std = "+love" }
files["examples/neovim"] = { globals = { "vim" } }

-- Only says what there is.
files["lua/library"] = { ignore = { "212", "241" } }
