#!/usr/bin/env luajit
-- The installed module in a plain luajit, and the installed command.
local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "?.lua;" .. here .. "../flows/?.lua;" .. package.path
local support = require "support"
local tree = require "tree"
local test, check, equal, matches = support.test, support.check, support.equal, support.matches

local FLOW = [[
return { steps = {
  start  = { next = "work", foreach = "parts", function(self) self.parts = 3 end },
  work   = { next = "finish", isolate = true, function(self) self.pid = io.open("/proc/self/stat"):read("*n") end },
  finish = function(self, inputs) self.pids = inputs:collect("pid") end,
} }
]]

-- Runs the flow, and prints how that ended and in how many processes its isolated tasks ran.
local PROGRAM = [[
local luaflow = require "luaflow"
local run = assert(luaflow.run("apart.lua", { store = "store" }))
local seen, n = {}, 0
for _, pid in ipairs(run.data.pids or {}) do
  if not seen[pid] then seen[pid], n = true, n + 1 end
end
print(run.status, n, (run.exception or {}).message)
]]

-- What the program prints, in a luajit that finds the module in `cpath`.
local function luajit(w, cpath)
  w:write("apart.lua", FLOW)
  w:write("program.lua", PROGRAM)
  return tree.sh(w, tree.plainly(("LUA_CPATH='%s/?.so' luajit program.lua"):format(cpath)))
end

test("luajit requires the module, which finds the command for isolated steps", function(w)
  local prefix = tree.install(w)
  equal(luajit(w, tree.directory(tree.find(w, prefix, "luaflow.so"))), "done\t3\tnil")
end)

test("the module is where luajit looks below /usr or /usr/local", function(w)
  local prefix = tree.install(w)
  local pattern = tree.find(w, prefix, "luaflow.so"):sub(#prefix + 1):gsub("luaflow%.so$", "?.so")
  local searched = tree.sh(w, tree.plainly("luajit -e 'print(package.cpath)'"))
  check(searched:find(";/usr/local" .. pattern, 1, true) or searched:find(";/usr" .. pattern, 1, true),
    pattern .. " in " .. searched)
end)

test("the command runs from wherever it is", function(w)
  local prefix = tree.install(w)
  w:write("apart.lua", FLOW)
  tree.sh(w, tree.plainly(("'%s/bin/luaflow' run apart.lua --store store"):format(prefix)))
  matches(tree.sh(w, ("'%s/bin/luaflow' get last/pids --store store"):format(prefix)), "^%[%d+,%d+,%d+%]$")
end)

support.done()
