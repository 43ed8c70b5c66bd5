#!/usr/bin/env luajit
-- The session in examples/repl: what was typed is typed again, and the same comes out.
--
-- Nothing in it varies, but luajit's banner, which it leaves out. What is typed is not echoed where
-- it does not come from a terminal, so of each prompt's line only the prompt is expected.
local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "../install/?.lua;" .. here .. "../flows/?.lua;" .. package.path
local support = require "support"
local tree = require "tree"
local test, equal, check = support.test, support.equal, support.check

test("the session in a plain luajit goes as it is told", function(w)
  local typed, told, n = {}, {}, 0
  for line in io.lines(support.root .. "/examples/repl/session.txt") do
    local prompt, input = line:match("^(>>? )(.*)$")
    if prompt then typed[#typed + 1], n = input .. "\n", n + 1 end
    told[#told + 1] = prompt or line .. "\n"
  end
  check(n > 20, "much is typed")
  w:write("typed", table.concat(typed))
  local prefix = tree.install(w)
  local module = tree.directory(tree.find(w, prefix, "luaflow.so"))
  tree.sh(w, tree.plainly(("LUAFLOW_STORE=.luaflow LUA_CPATH='%s/?.so' luajit -i <typed >shown 2>&1"):format(module)))
  local shown = w:read("shown")
  equal(shown:sub(shown:find("> ", 1, true), -1), table.concat(told) .. "> \n")
end)

support.done()
