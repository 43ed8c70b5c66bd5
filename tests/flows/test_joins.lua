#!/usr/bin/env luajit
-- Splits and joins: what inputs give, how artifacts merge, what a foreach goes over, and the
-- paths of tasks.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check, contains = support.test, support.equal, support.check, support.contains

--- The paths of a run's tasks, sorted.
local function paths(w, pathspec)
  local list = {}
  for i, task in ipairs(w:tasks(pathspec or "last")) do list[i] = task.path end
  table.sort(list)
  return table.concat(list, " ")
end

-- ---- merging ------------------------------------------------------------------------------

local CONFLICT = [[
return { name = "MergeArtifactsFlow", steps = {
  start = { next = { "a", "b" }, function(self) self.same, self.y = 1, 1 end },
  a = { next = "join", function(self) self.x, self.y, self.only = 1, 2, "a" end },
  b = { next = "join", function(self) self.x, self.y = 2, 3 end },
  join = { next = "finish", function(self, inputs) %s end },
  finish = function(self) %s end,
} }]]

test("a conflict is told in one error that names all, sorted, each once", function(w)
  w:write("conflict.lua", CONFLICT:format("self:merge_artifacts(inputs)", ""))
  local result = w:expect(1, "run", "conflict.lua")
  contains(result.out, "Step join cannot merge the following artifacts due to them having conflicting values:",
    "[x, y].")
  equal(w:json("status", "last").failures[1].message,
    "Step join cannot merge the following artifacts due to them having conflicting values:\n[x, y].\n"
    .. "To remedy this issue, be sure to explicitly set those artifacts "
    .. "(using self.<artifact_name> = ...) prior to calling merge_artifacts.")
end)

test("nothing is propagated by a merge that fails", function(w)
  w:write("conflict.lua", CONFLICT:format(
    "assert(not pcall(self.merge_artifacts, self, inputs)); assert(not self:has('same'))", ""))
  w:run("conflict.lua")
  equal(w:artifacts("last/finish"), {})
end)

test("what is set before the merge stays, what is excluded goes, the rest is propagated", function(w)
  w:write("merge.lua", CONFLICT:format(
    "self.x = inputs.a.x + inputs.b.x; self:merge_artifacts(inputs, { exclude = { 'y' } })",
    "assert(not self:has('y'))"))
  w:run("merge.lua")
  equal(w:artifacts("last/finish"), { x = 3, same = 1, only = "a" })
end)

test("include propagates these alone", function(w)
  w:write("merge.lua", CONFLICT:format("self:merge_artifacts(inputs, { include = { 'only' } })", ""))
  w:run("merge.lua")
  equal(w:artifacts("last/finish"), { only = "a" })
end)

test("equal content is no conflict, however it came about", function(w)
  w:write("equal.lua", [[
return { steps = {
  start = { next = { "a", "b" } },
  a = { next = "join", function(self) self.t = { x = 1, y = { 2 } } end },
  b = { next = "join", function(self) local t = { y = { 2 } }; t.x = 1; self.t = t end },
  join = { next = "finish", function(self, inputs) self:merge_artifacts(inputs) end },
  finish = {},
} }]])
  w:run("equal.lua")
  equal(w:artifacts("last/finish"), { t = { x = 1, y = { 2 } } })
end)

for _, case in ipairs {
  { "include and exclude together",
    "self:merge_artifacts(inputs, { include = { 'x' }, exclude = { 'y' } })", "include", "exclude" },
  { "an include that no input has", "self:merge_artifacts(inputs, { include = { 'zebra' } })", "zebra" },
} do
  test("a merge refuses " .. case[1], function(w)
    w:write("refused.lua", CONFLICT:format(case[2], ""))
    contains(w:expect(1, "run", "refused.lua").out, "refused.lua:5:", unpack(case, 3))
  end)
end

test("a merge outside a join is an error that says so", function(w)
  w:write("outside.lua", "return { steps = { start = function(self)\nself:merge_artifacts({}) end } }")
  contains(w:expect(1, "run", "outside.lua").out, "outside.lua:2:", "join")
end)

-- ---- inputs -------------------------------------------------------------------------------

test("inputs go by branch, by last step, by number, in declared order", function(w)
  w:write("inputs.lua", [[
local ffi = require "ffi"
ffi.cdef "int usleep(unsigned);"
return { name = "Inputs", steps = {
  start = { next = { "slow", "long", "quick" }, function(self) self.shared = "s" end },
  slow = { next = "join", function(self) ffi.C.usleep(50000); self.x, self.t = "slow", { 1 } end },
  long = { next = "long_end", function(self) self.first = true end },
  long_end = { next = "join", function(self) self.x = "long" end },
  quick = { next = "join", function(self) self.x, self.extra = "quick", 7 end },
  join = { next = "finish", function(self, inputs)
    assert(inputs.slow.x == "slow" and inputs.long.x == "long" and inputs.quick.x == "quick")
    assert(inputs.long_end.x == "long" and inputs.long_end.first)
    assert(#inputs == 3 and inputs[1].x == "slow" and inputs[2].x == "long" and inputs[3].x == "quick")
    local order = {}
    for i, input in ipairs(inputs) do order[i] = input.x end
    self.order = order
    self.all = inputs:collect("x")
    self.shared_thrice = inputs:collect("shared")
    self.extras = inputs:collect("extra", 0)
    assert(inputs.quick:has("extra") and not inputs.slow:has("extra"))
    assert(inputs.slow:get("extra") == nil and inputs.slow:get("extra", 5) == 5)
    assert(not self:has("shared"), "a join starts with no artifacts")
    print(select(2, pcall(inputs.collect, inputs, "extra")))
    print(select(2, pcall(function() return inputs.slow.nothing end)))
    print(select(2, pcall(function() inputs.slow.x = 1 end)))
    print(select(2, pcall(function() return inputs.nobody.x end)))
    inputs.slow.t[1] = 99
  end },
  finish = {},
} }]])
  w:run("inputs.lua", "--max-workers", "4")
  local found = w:artifacts("last/finish")
  equal(found.order, { "slow", "long", "quick" })
  equal(found.all, { "slow", "long", "quick" })
  equal(found.shared_thrice, { "s", "s", "s" })
  equal(found.extras, { 0, 0, 7 })
  local lines = {}
  for line in w:logs("last"):gmatch("[^\n]+") do lines[#lines + 1] = line end
  equal(#lines, 4)
  contains(lines[1], "extra", "slow")
  contains(lines[2], "nothing")
  contains(lines[3], "x")
  contains(lines[4], "nobody")
  equal(w:tasks("last/slow")[1].artifacts.t, { 1 }, "what an input gave and was changed")
end)

test("a field of an input is read without the others, however large these are", function(w)
  w:write("fields.lua", [[
local function work(n)
  return { next = "join", function(self)
    self.n, self.text, self.list = n, ("x"):rep(4000000) .. n, {}
    for i = 1, 200000 do self.list[i] = i / 7 end
  end }
end
local function grown(read)
  collectgarbage() collectgarbage "stop"
  local before = collectgarbage "count"
  read()
  return collectgarbage "count" - before
end
return { steps = {
  start = { next = { "a", "b" } },
  a = work(1),
  b = work(2),
  join = { next = "finish", function(self, inputs)
    self.small = grown(function() self.sum = inputs.a.n + inputs[2].n + #inputs:collect "n" end)
    self.large = grown(function() self.chars, self.elements = #inputs.b.text, #inputs.b.list end)
  end },
  finish = function(self)
    self.still_small = grown(function() self.sum = self.sum + self.small end)
  end,
} }]])
  w:run("fields.lua")
  local found = w:artifacts("last/join")
  equal({ found.sum, found.chars, found.elements }, { 5, 4000001, 200000 })
  equal({ found.small < 100, found.large > 5000 }, { true, true }) -- in KB
  equal(w:artifacts("last/finish").still_small < 100, true)
end)

test("a false artifact is collected, not defaulted", function(w)
  w:write("false.lua", [[
return { params = { n = { default = 3 } }, steps = {
  start = { next = "each", foreach = "n" },
  each = { next = "join", function(self) if self.index ~= 2 then self.flag = self.index == 3 end end },
  join = function(self, inputs) self.flags = inputs:collect("flag", "none") end,
} }]])
  w:run("false.lua", "--max-workers", "4")
  equal(w:artifacts("last/join").flags, { false, "none", true })
end)

-- ---- foreach ------------------------------------------------------------------------------

test("a foreach goes over lists, FFI arrays, integers, parameters and nothing", function(w)
  w:write("over.lua", [[
local ffi = require "ffi"
local function work(name)
  return { next = name .. "_join", function(self)
    self.got = { self.index, tonumber(self.input) or self.input }
  end }
end
return {
  params = { count = { default = 2, type = "integer" },
             names = { default = "x,y", separator = "," } },
  steps = {
    start = { next = "a", foreach = "list", function(self) self.list = { "p", "q", "r" } end },
    a = work "a",
    a_join = { next = "b", foreach = "array", function(self, inputs)
      self.list_got = inputs:collect("got")
      self.array = ffi.new("double[3]", { 0.5, 1.5, 2.5 })
    end },
    b = work "b",
    b_join = { next = "c", foreach = "count", function(self, inputs)
      self.list_got, self.array_got = inputs[1].list_got, inputs:collect("got")
    end },
    c = work "c",
    c_join = { next = "d", foreach = "names", function(self, inputs)
      self:merge_artifacts(inputs, { exclude = { "got" } })
      self.count_got = inputs:collect("got")
    end },
    d = work "d",
    d_join = { next = "e", foreach = "none", function(self, inputs)
      self:merge_artifacts(inputs, { exclude = { "got" } })
      self.names_got, self.none = inputs:collect("got"), {}
    end },
    e = { next = "e_join", function() error "never runs" end },
    e_join = { next = "f", foreach = "zero", function(self, inputs)
      self.none_got, self.zero = #inputs, 0
      assert(#inputs:collect("got") == 0)
      assert(self.input == nil and self.index == nil)
      assert(not self:has("list_got"), "a join without inputs has no artifacts")
    end },
    f = { next = "finish", function() error "never runs" end },
    finish = function(self, inputs) self.zero_got = #inputs end,
  },
}]])
  w:run("over.lua", "--max-workers", "4")
  local found = w:tasks("last/d_join")[1].artifacts
  equal(found.list_got, { { 1, "p" }, { 2, "q" }, { 3, "r" } })
  equal(found.array_got, { { 1, 0.5 }, { 2, 1.5 }, { 3, 2.5 } })
  equal(found.count_got, { { 1, 1 }, { 2, 2 } })
  equal(found.names_got, { { 1, "x" }, { 2, "y" } })
  equal(w:tasks("last/e_join")[1].artifacts.none_got, 0)
  equal(w:artifacts("last/finish"), { zero_got = 0 })
end)

for _, case in ipairs {
  { "a list with holes", "self.items = { 1, nil, 3 }" },
  { "a table with names", "self.items = { a = 1 }" },
  { "a string", "self.items = 'abc'" },
  { "a fraction", "self.items = 2.5" },
  { "a negative number", "self.items = -1" },
  { "a boolean", "self.items = true" },
  { "an artifact that is not there", "" },
} do
  test("a foreach over " .. case[1] .. " fails the task and names the artifact", function(w)
    w:write("wrong.lua", ([[
return { steps = {
  start = { next = "each", foreach = "items", function(self) %s end },
  each = { next = "join" },
  join = function(self, inputs) end,
} }]]):format(case[2]))
    local result = w:expect(1, "run", "wrong.lua")
    contains(result.out, "items")
    equal(paths(w), "start")
  end)
end

test("a foreach that is too wide fails with both numbers, and no child starts", function(w)
  w:write("wide.lua", [[
return { steps = {
  start = { next = "each", foreach = "items", function(self) self.items = 1235 end },
  each = { next = "join" },
  join = function(self, inputs) end,
} }]])
  local result = w:expect(1, "run", "wide.lua", "--max-num-splits", "1234")
  check(result.out:gsub("[,_]", ""):find("1235") and result.out:gsub("[,_]", ""):find("1234"), result.out)
  equal(paths(w), "start")
end)

test("foreach_stack tells every level, from the outside in", function(w)
  w:write("stack.lua", [[
return { steps = {
  start = { next = "outer", foreach = "letters", function(self)
    assert(#self:foreach_stack() == 0 and self.input == nil and self.index == nil)
    self.letters = { "a", "b" }
  end },
  outer = { next = "inner", foreach = "numbers", function(self) self.numbers = { 10, 20, 30 } end },
  inner = { next = "below", function(self) self.here = { self.index, self.input } end },
  below = { next = "inner_join", function(self)
    assert(self.index == self.here[1] and self.input == self.here[2])
    self.stack = self:foreach_stack()
  end },
  inner_join = { next = "outer_join", function(self, inputs)
    self.stacks, self.place = inputs:collect("stack"), { self.index, self.input }
  end },
  outer_join = function(self, inputs)
    assert(#self:foreach_stack() == 0 and self.index == nil and self.input == nil)
    self.places = inputs:collect("place")
    self.last = inputs[2].stacks[3]
  end,
} }]])
  w:run("stack.lua", "--max-workers", "4")
  local found = w:artifacts("last/outer_join")
  equal(found.places, { { 1, "a" }, { 2, "b" } })
  equal(found.last, {
    { step = "start", index = 2, size = 2, input = "b" }, -- the step that opened it
    { step = "outer", index = 3, size = 3, input = 30 },
  })
  equal(paths(w, "last/below"),
    "below[1][1] below[1][2] below[1][3] below[2][1] below[2][2] below[2][3]")
end)

-- ---- switch -------------------------------------------------------------------------------

local SWITCH = [[
return { params = { p = { default = "right" } }, steps = {
  start = { next = %s, switch = "%s", function(self) self.way = %s end },
  left = { next = "finish", function() print "left" end },
  right = { next = "finish", function() print "right" end },
  finish = {},
} }]]

for _, case in ipairs {
  { "a string", "{ l = 'left', r = 'right' }", "way", "'r'", "right" },
  { "a number", "{ [7] = 'left', [2.5] = 'right' }", "way", "2.5", "right" },
  { "a whole number", "{ [7] = 'left', [2.5] = 'right' }", "way", "7", "left" },
  { "a boolean", "{ [true] = 'left', [false] = 'right' }", "way", "false", "right" },
  { "a place in a list", "{ 'left', 'right' }", "way", "2", "right" },
  { "a parameter", "{ left = 'left', right = 'right' }", "p", "0", "right" },
} do
  test("a switch goes by " .. case[1], function(w)
    w:write("switch.lua", SWITCH:format(case[2], case[3], case[4]))
    w:run("switch.lua")
    equal(w:logs("last"), case[5] .. "\n")
    equal(#w:tasks("last"), 3)
  end)
end

test("a switch value without a case fails, naming the value and the cases", function(w)
  w:write("switch.lua", SWITCH:format("{ l = 'left', r = 'right' }", "way", "'middle'"))
  contains(w:expect(1, "run", "switch.lua").out, "way", "middle", "l", "r")
  w:write("switch.lua", SWITCH:format("{ 'left', 'right' }", "way", "'1'"))
  contains(w:expect(1, "run", "switch.lua").out, "way", "1", "2")
  w:write("switch.lua", SWITCH:format("{ 'left', 'right' }", "way", "{}"))
  contains(w:expect(1, "run", "switch.lua").out, "way", "a list")
  w:write("switch.lua", SWITCH:format("{ 'left', 'right' }", "nothing", "1"))
  contains(w:expect(1, "run", "switch.lua").out, "nothing")
end)

-- ---- loops and paths ----------------------------------------------------------------------

test("paths tell steps, elements and turns", function(w)
  w:write("train.lua", [[
return { steps = {
  start = { next = "train", function(self) self.turn = 0 end },
  train = { next = { [true] = "train", [false] = "finish" }, switch = "more", function(self)
    self.turn = self.turn + 1
    self.more = self.turn < 4
  end },
  finish = {},
} }]])
  w:run("train.lua")
  equal(paths(w), "finish start train train#2 train#3 train#4")

  w:write("inside.lua", [[
return { steps = {
  start = { next = "work", foreach = "n", function(self) self.n, self.turn = 3, 0 end },
  work = { next = { again = "work", done = "join" }, switch = "verdict", function(self)
    self.turn = self.turn + 1
    self.verdict = self.turn < self.index and "again" or "done"
  end },
  join = function(self, inputs) self.turns = inputs:collect("turn") end,
} }]])
  w:run("inside.lua", "--max-workers", "4")
  equal(paths(w), "join start work[1] work[2] work[2]#2 work[3] work[3]#2 work[3]#3")
  equal(w:artifacts("last/join").turns, { 1, 2, 3 })

  w:write("around.lua", [[
return { steps = {
  start = { next = "plan", function(self) self.round = 0 end },
  plan = { next = "work", foreach = "items", function(self)
    self.round = self.round + 1
    self.items = self.round + 1
  end },
  work = { next = "gather" },
  gather = { next = { more = "plan", enough = "finish" }, switch = "verdict", function(self, inputs)
    self.round = inputs[1].round
    self.verdict = self.round < 2 and "more" or "enough"
  end },
  finish = {},
} }]])
  w:run("around.lua", "--max-workers", "4")
  equal(paths(w), "finish gather gather#2 plan plan#2 start "
    .. "work#2[1] work#2[2] work#2[3] work[1] work[2]")
end)

test("a branch adds nothing to a path", function(w)
  w:write("branch.lua", [[
return { steps = {
  start = { next = { "a", "b" } },
  a = { next = "each", foreach = "n", function(self) self.n = 2 end },
  each = { next = "a_join" }, a_join = { next = "join", function(self, inputs) end },
  b = { next = "join" },
  join = function(self, inputs) end,
} }]])
  w:run("branch.lua")
  equal(paths(w), "a a_join b each[1] each[2] join start")
end)

test("paths and artifacts are the same for one worker and for four", function(w)
  w:write("shape.lua", [[
return { steps = {
  start = { next = { "left", "right" }, function(self) self.n = 5 end },
  left = { next = "each", foreach = "n" },
  each = { next = { "up", "down" }, function(self) self.v = self.input * 10 end },
  up = { next = "meet", function(self) self.v = self.v + 1 end },
  down = { next = "meet", function(self) self.v = self.v - 1 end },
  meet = { next = "gather", function(self, inputs) self.pair = inputs:collect("v") end },
  gather = { next = "join", function(self, inputs) self.pairs = inputs:collect("pair") end },
  right = { next = "join", function(self) self.right = "r" end },
  join = { next = "finish", function(self, inputs) self:merge_artifacts(inputs, { exclude = { "n" } }) end },
  finish = {},
} }]])
  local function shape(workers)
    w:run("shape.lua", "--max-workers", workers)
    local by_path = {}
    for _, task in ipairs(w:tasks("last")) do by_path[task.path] = task.artifacts end
    return by_path
  end
  local one = shape("1")
  equal(shape("4"), one)
  equal(one.finish.pairs, { { 11, 9 }, { 21, 19 }, { 31, 29 }, { 41, 39 }, { 51, 49 } })
end)

support.done()
