#!/usr/bin/env luajit
-- Flows whose graph is wrong are refused before anything runs: every problem at once, each with
-- the step, the file and line of its function, and the cure.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check, contains = support.test, support.equal, support.check, support.contains

--- Tests that the flow is refused, with all `pieces` in what is said. The flow's text starts on
--- line 1 of wrong.lua.
local function refuses(sentence, flow, ...)
  local pieces = { ... }
  test("refuses " .. sentence, function(w)
    w:write("wrong.lua", flow)
    local checked = w:expect(2, "check", "wrong.lua")
    contains(checked.out, unpack(pieces))
    local ran = w:expect(2, "run", "wrong.lua")
    contains(ran.all, unpack(pieces))
    support.lacks(checked.all .. ran.all, "stack traceback")
    equal(w:json("runs").runs, {}, "runs made")
  end)
end

refuses("a flow without start", [[
return { steps = {
  first = function(self) end,
} }]], "start")

refuses("a target that is not there, naming the one that was meant", [[
return { steps = {
  start = { next = "finnish",
    function(self) end },
  finish = function(self) end,
} }]], "wrong.lua:3", "start", "finnish", "finish")

refuses("a step that nothing leads to", [[
return { steps = {
  start = { next = "finish", function(self) end },
  island = { next = "finish",
    function(self) end },
  finish = function(self) end,
} }]], "wrong.lua:4", "island")

refuses("a flow without a last step", [[
return { steps = {
  start = { next = "a", function(self) end },
  a = { next = { again = "a", more = "b" }, switch = "x", function(self) end },
  b = { next = { again = "a", more = "b" }, switch = "x", function(self) end },
} }]], "last step")

refuses("several last steps", [[
return { steps = {
  start = { next = { one = "a", two = "b" }, switch = "x", function(self) end },
  a = function(self) end,
  b = function(self) end,
} }]], "'a'", "'b'", "wrong.lua:3")

refuses("a forgotten next, though nothing leads to the last step then", [[
return { steps = {
  start = { next = "a", function(self) end },
  a = { next = nil,
    function(self) end },
  finish = function(self) end,
} }]], "'a' and 'finish' have no `next`", "wrong.lua:4", "never reached")

refuses("a superfluous inputs, and tells nothing that follows", [[
return { steps = {
  start = { next = { "a", "b" },
    function(self) end },
  a = { next = "join", function(self, inputs) end },
  b = { next = "join", function(self) end },
  join = { next = "finish", function(self, inputs) end },
  finish = function(self) end,
} }]], "'a'", "wrong.lua:3", "write function(self)")

refuses("foreach and switch over what can be no artifact", [[
return { steps = {
  start = { next = "work", foreach = "input", function(self) end },
  work = { next = { "join", "join" }, switch = "get",
    function(self) end },
  join = function(self, inputs) end,
} }]], "foreach = \"input\"", "switch = \"get\"", "wrong.lua:4")

refuses("two parameters with one variable of the environment", [[
return { params = { a = {}, A = {} }, steps = { start = function(self) end } }]],
  "'A'", "'a'", "LUAFLOW_PARAM_A")

refuses("os.exit in a flow file", "os.exit(0)", "wrong.lua:1", "must not call os.exit while it is loaded")

refuses("a branch that is not joined", [[
return { steps = {
  start = { next = { "a", "b" },
    function(self) end },
  a = { next = "finish", function(self) end },
  b = { next = "finish", function(self) end },
  finish = function(self) end,
} }]], "start", "finish", "inputs")

refuses("a foreach that is not joined", [[
return { steps = {
  start = { next = "work", foreach = "items",
    function(self) end },
  work = { next = "finish", function(self) end },
  finish = function(self) end,
} }]], "start", "wrong.lua:3", "inputs")

refuses("a branch that two steps join", [[
return { steps = {
  start = { next = { "a", "b" },
    function(self) end },
  a = { next = "join1", function(self) end },
  b = { next = "join2", function(self) end },
  join1 = { next = "finish", function(self, inputs) end },
  join2 = { next = "finish", function(self, inputs) end },
  finish = function(self) end,
} }]], "start", "join1", "join2")

refuses("a join that closes nothing", [[
return { steps = {
  start = { next = "join", function(self) end },
  join = { next = "finish",
    function(self, inputs) end },
  finish = function(self) end,
} }]], "join", "wrong.lua:4")

refuses("a step that two branches reach and that is not their join", [[
return { steps = {
  start = { next = { "a", "b" }, function(self) end },
  a = { next = "both", function(self) end },
  b = { next = "both", function(self) end },
  both = { next = "join",
    function(self) end },
  join = { next = "finish", function(self, inputs) end },
  finish = function(self) end,
} }]], "both", "wrong.lua:6", "inputs")

refuses("a join over branches of different depth", [[
return { steps = {
  start = { next = { "a", "b" }, function(self) end },
  a = { next = "inner", foreach = "items", function(self) end },
  inner = { next = "join", function(self) end },
  b = { next = "join", function(self) end },
  join = { next = "finish",
    function(self, inputs) end },
  finish = function(self) end,
} }]], "join", "wrong.lua:7")

refuses("a cycle that is no switch loop", [[
return { steps = {
  start = { next = { go = "a", stop = "finish" }, switch = "x", function(self) end },
  a = { next = "b", function(self) end },
  b = { next = "a",
    function(self) end },
  finish = function(self) end,
} }]], "b", "switch")

refuses("a branch that goes straight to its join", [[
return { steps = {
  start = { next = { "a", "join" },
    function(self) end },
  a = { next = "join", function(self) end },
  join = { next = "finish", function(self, inputs) end },
  finish = function(self) end,
} }]], "start", "join")

refuses("foreach without next, and foreach with a list", [[
return { steps = {
  start = { next = { "a", "b" }, foreach = "items",
    function(self) end },
  a = { next = "join", function(self) end },
  b = { next = "join", function(self) end },
  join = { foreach = "items",
    function(self, inputs) end },
} }]], "start", "wrong.lua:3", "join", "wrong.lua:7", "foreach", "next")

refuses("switch with one target", [[
return { steps = {
  start = { next = "finish", switch = "x",
    function(self) end },
  finish = function(self) end,
} }]], "start", "wrong.lua:3", "switch")

refuses("a switch without a target", [[
return { steps = {
  start = { next = {}, switch = "x",
    function(self) end },
  finish = function(self) end,
} }]], "start", "wrong.lua:3", "switch")

refuses("a branch of one step", [[
return { steps = {
  start = { next = { "a" },
    function(self) end },
  a = { next = "join", function(self) end },
  join = function(self, inputs) end,
} }]], "start", "wrong.lua:3", "a")

refuses("a branch with a step twice", [[
return { steps = {
  start = { next = { "a", "a" },
    function(self) end },
  a = { next = "join", function(self) end },
  join = function(self, inputs) end,
} }]], "start", "wrong.lua:3", "a", "twice")

refuses("unknown keys, naming the nearest known one", [[
return { dok = "x", steps = {
  start = { nxt = "finish", next = "finish", retries = 3,
    function(self) end },
  finish = { function(self) end, max_paralel = 2 },
}, params = { n = { defualt = 3 } } }]],
  "dok", "doc", "nxt", "next", "retries", "retry", "max_paralel", "max_parallel",
  "defualt", "default", "wrong.lua:3", "wrong.lua:4")

refuses("values of the wrong type or range", [[
return { doc = 7, name = {}, steps = {
  start = { next = 3, function(self) end },
  a = { next = "b", retry = "often", timeout = -1, function(self) end },
  b = { next = "c", max_parallel = 0, isolate = "yes", env = { 1 }, function(self) end },
  c = { next = "finish", foreach = 5, catch = {}, function(self) end },
  finish = 12,
}, params = { n = { type = "float" }, m = 3 } }]],
  "doc", "name", "next", "retry", "timeout", "max_parallel", "isolate", "env", "foreach", "catch",
  "finish", "float", "'m'")

refuses("names that are no identifiers, and reserved ones", [[
return { steps = {
  start = { next = "my step", function(self) end },
  ["my step"] = { next = "collect", function(self) end },
  collect = function(self) end,
}, params = {
  ["a b"] = { default = 1 }, input = { default = 1 }, merge_artifacts = { default = 1 },
  max_workers = { default = 1 }, tag = { default = 1 }, fine = { default = 1 },
} }]], "my step", "collect", "a b", "input", "merge_artifacts", "max_workers", "tag")

refuses("a vararg step function, saying what to write", [[
return { steps = {
  start = { next = "finish",
    function(...) end },
  finish = function(self) end,
} }]], "start", "wrong.lua:3", "(self)", "(self, inputs)")

refuses("a join without a function for what it is", [[
return { steps = {
  start = { next = { "a", "b" }, function(self) end },
  a = { next = "join" },
  b = { next = "join" },
  join = { next = "finish" },
  finish = function(self) end,
} }]], "join", "inputs")

test("reports all problems in one go", function(w)
  w:write("wrong.lua", [[
return { steps = {
  start = { next = { "a", "b" }, function(self) end },
  a = { next = "nowhere",
    function(self) end },
  b = { next = "join", typo = 1,
    function(self) end },
  join = { next = "finish", function(self, inputs) end },
  island = { next = "finish",
    function(self) end },
  finish = function(...) end,
} }]])
  local out = w:expect(2, "check", "wrong.lua").out
  contains(out, "nowhere", "wrong.lua:4", "typo", "wrong.lua:6", "island", "wrong.lua:9",
    "finish", "wrong.lua:10")
  check(select(2, out:gsub("\n", "")) >= 4, "a line for each")
end)

test("check says in a line that a flow is fine", function(w)
  w:write("fine.lua", "return { steps = { start = function(self) end } }")
  local result = w:expect(0, "check", "fine.lua")
  equal(select(2, result.out:gsub("\n", "")), 1, "lines")
  equal(result.err, "")
end)

test("runs no step of a flow that it checks or shows", function(w)
  w:write("quiet.lua", [[
return { steps = { start = function(self) io.open("ran", "w"):close() end } }]])
  w:expect(0, "check", "quiet.lua")
  w:expect(0, "show", "quiet.lua")
  w:run("quiet.lua", "--dry-run")
  check(not w:read("ran"), "a step ran")
  equal(w:json("runs").runs, {})
end)

test("allows every shape that is right", function(w)
  w:write("right.lua", [[
return { steps = {
  start = { next = { "left", "right", "plain" } },
  left = { next = "each", foreach = "items", function(self) self.items = { 1, 2 } end },
  each = { next = { small = "gathered", large = "more" }, switch = "size",
    function(self) self.size = self.input == 1 and "small" or "large" end },
  more = { next = "gathered" },
  gathered = { next = "join", function(self, inputs) self.n = #inputs end },
  right = { next = { "up", "down" } },
  up = { next = "level" }, down = { next = "level" },
  level = { next = { [true] = "level_again", [false] = "join" }, switch = "again",
    function(self, inputs) self.again, self.n = true, #inputs end },
  level_again = { next = { "level_again", "join" }, switch = "turn",
    function(self) self.turn = self:has("turn") and 2 or 1 end },
  plain = { next = "join", function(self) self.n = 1 end },
  join = { next = "end", function(self, inputs)
    self.total = inputs.left.n + inputs.right.n + inputs.plain.n
  end },
  ["end"] = function(self) print(self.total) end,
} }]])
  w:expect(0, "check", "right.lua")
  w:run("right.lua")
  equal(w:logs("last"), "5\n")
end)

support.done()
