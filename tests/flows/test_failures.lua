#!/usr/bin/env luajit
-- When things go wrong: failing steps, broken flow files, broken stores, interrupted runs.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check = support.test, support.equal, support.check
local contains, lacks, matches = support.contains, support.lacks, support.matches

-- ---- steps that fail ----------------------------------------------------------------------

test("a failing step shows its error and the user's own frames, and what to type next", function(w)
  w:write("sub/fail.lua", [[
local function deeper(x)
  return x.field.missing
end
local function helper()
  local y = deeper({})
  return y
end
return { steps = {
  start = { next = "bad", function(self) self.x = 1 end },
  bad = { next = "middle", function(self)
    local z = helper()
    return z
  end },
  middle = { next = "finish" },
  finish = {},
} }]])
  local result = w:expect(1, "run", "sub/fail.lua")
  contains(result.out, "] Task failed.", "sub/fail.lua:2: attempt to index field 'field' (a nil value)",
    "sub/fail.lua:5:", "sub/fail.lua:11:",
    "Run 1 failed: 1 task failed, 2 steps never ran. Resume with:\n",
    "    luaflow resume sub/fail.lua --origin-run-id 1")
  lacks(result.all, "pcall", "luaflow.task", "task.lua", "[C]: in ?", "isolation")
  local failure = w:json("status", "1").failures[1]
  equal(failure.message, "sub/fail.lua:2: attempt to index field 'field' (a nil value)")
  lacks(failure.traceback, "pcall", "task.lua")
  equal(w:json("runs").runs[1].status, "failed")
end)

test("a failure comes with its lines of source, and with the command that shows its log", function(w)
  w:write("helper.lua", "return function(x)\n  return x.y.z\nend\n")
  w:write("fail.lua", [[
return { name = "F", steps = {
  start = { next = { "a", "b" } },
  a = { next = "join", function(self)
    local x
    self.y = x.y
  end },
  b = { next = "join", function(self) require "helper" {} end },
  join = function(self, inputs) end,
} }]])
  local out = w:expect(1, "run", "fail.lua", "--keep-going", "--store", "my store").out
  local function excerpt(task) -- what stands behind its bracket
    local lines = {}
    for line in out:gmatch("%[1/" .. task .. " %(worker %d+%)%] ([^\n]+)") do lines[#lines + 1] = line end
    return table.concat(lines, "\n")
  end
  contains(excerpt("a/%d"), [[
fail.lua:5: attempt to index local 'x' (a nil value)
  3 |   a = { next = "join", function(self)
  4 |     local x
> 5 |     self.y = x.y
  6 |   end },
  7 |   b = { next = "join", function(self) require "helper" {} end },
stack traceback:]])
  contains(excerpt("b/%d"), "  1 | return function(x)\n> 2 |   return x.y.z\n  3 | end\nstack traceback:")
  matches(out, "%[1/a/(%d) %(worker %d+%)%] See what it printed: luaflow logs F/1/a/%1 %-%-store 'my store'\n")
end)

test("a step that blames its caller is shown with the line that did", function(w)
  w:write("fail.lua", [[
return { steps = { start = function(self)
  print(debug.traceback())
  error("bad input", 2)
end } }]])
  local out = w:expect(1, "run", "fail.lua").out
  contains(out, "] Task failed.\n", "] bad input\n", "] > 3 |   error(\"bad input\", 2)\n",
    "\tfail.lua:2: in function <fail.lua:1>", "\tfail.lua:3: in function <fail.lua:1>")
  lacks(out, "luaflow/")
end)

test("what a failing step printed is kept", function(w)
  w:write("fail.lua", [[
return { steps = { start = function() print "before"; error("after") end } }]])
  w:expect(1, "run", "fail.lua")
  contains(w:logs("last"), "before\n")
end)

for _, case in ipairs {
  { "a string without a place", "error('plain', 0)", "plain" },
  { "a table", "error({ code = 7 })", "table" },
  { "a table that prints itself", "error(setmetatable({}, { __tostring = function() return 'my own' end }))",
    "my own" },
  { "nil", "error()", "nil" },
  { "a runaway recursion", "local function f() return 1 + f() end f()", "stack overflow" },
  { "an operation on nil", "local s = 'x' return s .. nil", "concatenate" },
} do
  test("a step may fail with " .. case[1], function(w)
    w:write("fail.lua", "return { steps = { start = function(self) " .. case[2] .. " end } }")
    contains(w:expect(1, "run", "fail.lua").out, "Task failed.", case[3])
    contains(w:json("status", "last").failures[1].message, case[3])
  end)
end

test("a failed task starts nothing new, and what ran is kept", function(w)
  w:write("fail.lua", [[
return { params = { n = { default = 100 } }, steps = {
  start = { next = "each", foreach = "n" },
  each = { next = "join", function(self)
    if self.index == 3 then error "third" end
    self.done = self.index
  end },
  join = function(self, inputs) end,
} }]])
  local result = w:expect(1, "run", "fail.lua", "--max-workers", "1")
  contains(result.out, "1 task failed", "1 step never ran")
  local failed = 0
  for _, task in ipairs(w:tasks("last/each")) do
    if task.status == "failed" then failed = failed + 1 end
  end
  equal(failed, 1)
  check(#w:tasks("last/each") < 100, "the rest never started")
end)

-- ---- flow files that are none -------------------------------------------------------------

for _, case in ipairs {
  { "is not there", nil, "flow.lua" },
  { "is not Lua", "return {\n  steps = = 3\n}", "flow.lua:2:" },
  { "returns nothing", "local x = 1", "flow.lua", "table" },
  { "returns a number", "return 7", "flow.lua", "table" },
  { "has no steps", "return { name = 'x' }", "flow.lua", "steps" },
  { "raises while loading", "\n\nerror 'no luck'", "flow.lua:3:", "no luck" },
  { "calls what is nil while loading", "\nlocal t\nreturn t.x", "flow.lua:3:" },
  { "requires what is not there", "local m = require 'no.such.module'\nreturn {}", "no.such.module" },
  { "is bytecode", string.dump(function() return {} end), "flow.lua", "bytecode" },
  { "is empty", "", "flow.lua" },
} do
  test("a flow file that " .. case[1] .. " is exit code 2", function(w)
    if case[2] then w:write("flow.lua", case[2]) end
    for _, command in ipairs { "run", "check", "show" } do
      local result = w:expect(2, command, "flow.lua")
      contains(result.all, unpack(case, 3))
      lacks(result.all, "luaflow.flow", "lua/luaflow")
    end
    equal(w:json("runs").runs, {})
  end)
end

test("a directory is no flow file", function(w)
  w:shell("mkdir flow.lua")
  contains(w:expect(2, "run", "flow.lua").all, "flow.lua")
end)

-- ---- stores that cannot be used -----------------------------------------------------------

local HELLO = [[return { steps = { start = function(self) self.x = 1; print "hello" end } }]]

for _, case in ipairs {
  { "is a file", "echo hi >store", "store" },
  { "lies below a file", "echo hi >file", "file/store" },
  { "lies where nothing can be made", "true", "/proc/store" },
  { "holds a foreign data.mdb", "mkdir store; yes nonsense | head -c 40960 >store/data.mdb", "store" },
  { "holds an empty data.mdb", "mkdir store; : >store/data.mdb", "store" },
} do
  test("a store that " .. case[1] .. " is exit code 3, naming it", function(w)
    w:write("hello.lua", HELLO)
    w:shell(case[2])
    contains(w:expect(3, "run", "hello.lua", "--store", case[3]).err, case[3])
  end)
end

test("a store that was cut short is exit code 3", function(w)
  w:write("hello.lua", HELLO)
  w:run("hello.lua")
  w:shell("truncate -s 5000 .luaflow/data.mdb")
  contains(w:expect(3, "run", "hello.lua").err, ".luaflow")
  contains(w:expect(3, "runs").err, ".luaflow")
end)

-- ---- interrupted runs ---------------------------------------------------------------------

local SLEEPY = [[
local ffi = require "ffi"
ffi.cdef "int usleep(unsigned);"
return { name = "Sleepy", params = { seconds = { default = 0.5 }, shell = { default = false } }, steps = {
  start = { next = "nap", function(self) self.x = 1 end },
  nap = { next = "more", function(self)
    print "napping"
    if self.shell then
      os.execute("sleep " .. self.seconds)
    else
      for _ = 1, self.seconds * 100 do ffi.C.usleep(10000) end
    end
    self.rested = true
  end },
  more = { next = "finish" },
  finish = {},
} }]]

local function napping(w, ...)
  w:write("sleepy.lua", SLEEPY)
  local process = w:spawn("run", "sleepy.lua", ...)
  support.wait_for("the nap", function() return process:out():find("napping", 1, true) end)
  return process
end

for how, arguments in pairs { ["in a step's own code"] = {}, ["in a program of the shell"] = { "--shell" } } do
  test("Ctrl-C lets running tasks end, keeps them and says how to go on, " .. how, function(w)
    local process = napping(w, unpack(arguments))
    equal(w:json("runs").runs[1].status, "running")
    support.sleep(0.1)
    process:kill("INT")
    equal(process:wait(10), 130)
    equal(w:json("runs").runs[1].status, "interrupted")
    equal(w:artifacts("last/nap").rested, true)
    equal(#w:tasks("last"), 2, "tasks")
    contains(process:out() .. process:err(), "luaflow resume sleepy.lua --origin-run-id 1")
  end)
end

test("Ctrl-C while a task waits to be tried again ends the run", function(w)
  w:write("flaky.lua", [[
return { steps = { start = { retry = { times = 1, delay = 30 }, function() error "no luck" end } } }]])
  local process = w:spawn("run", "flaky.lua")
  support.wait_for("the failure", function() return process:out():find("Retrying in 30 s", 1, true) end)
  process:kill("INT")
  equal(process:wait(5), 130)
  contains(process:out(), "Interrupted: no further task is started. 1 task was waiting for another attempt, ")
  lacks(process:out(), "running task")
end)

test("a second Ctrl-C abandons running tasks", function(w)
  local process = napping(w, "--seconds", "8")
  process:kill("INT")
  support.wait_for("the answer", function()
    return (process:out() .. process:err()):find("Ctrl%-C") end)
  support.wait_for("the end of start", function() -- told when it is stored
    return process:out():find("%[1/start/1 %(worker %d+%)%] Task finished") end)
  process:kill("INT")
  equal(process:wait(5), 130)
  equal(w:json("runs").runs[1].status, "interrupted")
  equal(w:artifacts("last").x, 1)
  contains(process:out() .. process:err(), "luaflow resume sleepy.lua --origin-run-id 1")
end)

test("a run whose process was killed shows as interrupted, and the store goes on", function(w)
  local process = napping(w, "--seconds", "3")
  equal(w:json("status", "1").status, "running")
  process:kill("KILL")
  equal(process:wait(10), 137)
  equal(w:json("runs").runs[1].status, "interrupted")
  equal(#w:json("runs", "--status", "interrupted").runs, 1)
  w:write("hello.lua", HELLO)
  w:run("hello.lua")
  equal(w:json("runs").runs[1].id, 2)
end)

test("of a running task the lines it printed can be read", function(w)
  local process = napping(w, "--seconds", "2.5")
  support.wait_for("the line in the store", function()
    return w:luaflow("logs", "last").out == "napping\n"
  end, 3)
  equal(process:wait(20), 0)
end)

test("several commands share a store at the same time", function(w)
  w:write("sum.lua", [[
return { params = { n = { default = 300 } }, steps = {
  start = { next = "each", foreach = "n" },
  each = { next = "join", function(self) self.v = self.input * 2 end },
  join = function(self, inputs)
    local sum = 0
    for _, v in ipairs(inputs:collect("v")) do sum = sum + v end
    self.sum = sum
  end,
} }]])
  local processes = {}
  for i = 1, 4 do processes[i] = w:spawn("run", "sum.lua", "--max-workers", "2") end
  for _, process in ipairs(processes) do equal(process:wait(30), 0, process:out() .. process:err()) end
  equal(#w:json("runs", "--status", "done").runs, 4)
  for id = 1, 4 do equal(w:artifacts(id .. "/join").sum, 90300) end
end)

test("a reader that goes away does not hurt the store", function(w)
  w:write("hello.lua", HELLO)
  w:shell(("LUAFLOW_STORE=.luaflow '%s' run hello.lua 2>/dev/null | true"):format(support.command))
  w:run("hello.lua")
  equal(w:json("runs", "--status", "done").runs[1].id, 2)
end)

test("a step may print what luaflow itself would say", function(w)
  w:write("odd.lua", [[
return { steps = { start = function() print "Done! 5 tasks"; print "\27[31mred\27[0m\7\r\0bell" end } }]])
  local result = w:run("odd.lua")
  matches(result.out, "%] Done! 5 tasks\n")
end)

support.done()
