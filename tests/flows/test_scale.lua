#!/usr/bin/env luajit
-- Many tasks and large artifacts.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check = support.test, support.equal, support.check

local SUM = [[
return { params = { n = { default = 100000, type = "integer" } }, steps = {
  start = { next = "square", foreach = "items", function(self)
    local items = {}
    for i = 1, self.n do items[i] = i end
    self.items = items
  end },
  square = { next = "sum", function(self) self.square = self.input * self.input end },
  sum = { next = "finish", function(self, inputs)
    local sum = 0
    for _, input in ipairs(inputs) do sum = sum + input.square end
    self.sum, self.n_inputs = sum, #inputs
  end },
  finish = function(self) print(("%.0f"):format(self.sum)) end,
} }]]

test("what ended before a long task is stored at once, and what comes after it runs elsewhere", function(w)
  w:write("late.lua", [[
return { steps = {
  start = { next = "each", foreach = "n", function(self) self.n = 60 end },
  each = { next = "join", function(self)
    if self.index == 30 then
      os.execute "while [ ! -e seen ]; do sleep 0.02; done"
    end
  end },
  join = function(self, inputs) self.all = #inputs end,
} }]])
  local process = w:spawn("run", "late.lua", "--max-workers", "2")
  support.wait_for("all tasks but the long one", function() -- start is one of them
    local status = w:luaflow("status", "1", "--json")
    return status.code == 0 and support.decode(status.out).tasks.done == 60
  end)
  w:write("seen", "")
  equal(process:wait(), 0)
end)

test("100,000 tasks are joined into one sum", function(w)
  w:write("sum.lua", SUM)
  local result = w:run("sum.lua")
  equal(w:logs("last/finish"), "333338333350000\n")
  equal(w:json("runs").runs[1].tasks, { done = 100003, failed = 0, reused = 0 })
  check(#result.out < 20000, "the console stays readable")
end)

test("a foreach over a large FFI array does not load it for every task", function(w)
  w:write("array.lua", [[
local ffi = require "ffi"
return { steps = {
  start = { next = "each", foreach = "big", function(self)
    self.big = ffi.new("double[20000]")
    for i = 0, 19999 do self.big[i] = i / 2 end
  end },
  each = { next = "join", function(self)
    assert(self.input == (self.index - 1) / 2)
    self.v = self.input
  end },
  join = function(self, inputs)
    local sum = 0
    for _, input in ipairs(inputs) do sum = sum + input.v end
    self.sum = sum
  end,
} }]])
  w:run("array.lua")
  equal(w:artifacts("last/join").sum, 99995000)
end)

test("artifacts of 64 MB make the round trip", function(w)
  w:write("large.lua", [[
local ffi = require "ffi"
return { steps = {
  start = { next = "finish", function(self)
    self.array = ffi.new("double[8388608]")
    for i = 0, 8388607 do self.array[i] = i end
    self.text = ("0123456789abcdef"):rep(1048576)
  end },
  finish = function(self)
    for i = 0, 8388607 do assert(self.array[i] == i) end
    assert(self.text == ("0123456789abcdef"):rep(1048576))
    print "all there"
  end,
} }]])
  w:run("large.lua")
  equal(w:logs("last"), "all there\n")
end)

test("a chain of a thousand turns and a branch of many steps", function(w)
  w:write("turns.lua", [[
local steps = {
  start = { next = "turn", function(self) self.n = 0 end },
  turn = { next = { [true] = "turn", [false] = "fan" }, switch = "more", function(self)
    self.n = self.n + 1
    self.more = self.n < 1000
  end },
  fan = { next = {} },
  join = function(self, inputs) self.n = #inputs; self.all = inputs:collect("i") end,
}
for i = 1, 200 do
  steps.fan.next[i] = "b" .. i
  steps["b" .. i] = { next = "join", function(self) self.i = i end }
end
return { steps = steps }]])
  w:run("turns.lua", "--max-workers", "4")
  local join = w:artifacts("last/join")
  equal({ join.n, join.all[1], join.all[200] }, { 200, 1, 200 })
  equal(w:json("runs").runs[1].tasks.done, 1203)
end)

support.done()
