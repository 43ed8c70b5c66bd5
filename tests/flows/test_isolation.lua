#!/usr/bin/env luajit
-- Tasks do not see what other tasks did, however hard they try, and chance is the run's own.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check, contains = support.test, support.equal, support.check, support.contains

local TORTURE = [[
local ffi = require "ffi"
local luaflow = require "luaflow"

assert(marker == nil and _G.marker == nil and rawget(_G, "marker") == nil, "a global survived")
assert(rawget(_G, "written_in_step") == nil and by_loadstring == nil and by_setfenv == nil)
assert(_G._G == _G and getfenv(1) == _G and getfenv(0) == _G)

ffi.cdef [=[
  typedef struct { double x, y; } torture_point;
  struct torture_named { int a; };
  int abs(int);
]=]
local Point = ffi.metatype("torture_point", {
  __add = function(a, b) return ffi.new("torture_point", a.x + b.x, a.y + b.y) end,
  __index = { length = function(p) return math.sqrt(p.x * p.x + p.y * p.y) end },
})
local Anonymous = ffi.typeof "struct { int first; double second; }"

local Class = {}
Class.__index = Class
function Class:twice() return self.n * 2 end
luaflow.register("TortureClass", Class)

local counter = 0
local cache = {}
marker = "set at the top"
_G.another = { 1 }
print "top level"

local function step_local() counter = counter + 1; return counter end

return { name = "Torture", params = { n = { default = 30000, type = "integer" } }, steps = {
  start = { next = "each", foreach = "n" },
  each = { next = "join", function(self)
    assert(step_local() == 1 and next(cache) == nil, "a file-local survived")
    cache[1] = true
    assert(marker == "set at the top" and rawget(_G, "written_in_step") == nil)
    assert(by_loadstring == nil and by_setfenv == nil and new_global == nil)
    _G.written_in_step = self.index
    rawset(_G, "marker", "changed")
    assert(loadstring "by_loadstring = 1; return by_loadstring" () == 1)
    assert(by_loadstring == 1)
    assert(load(function() end))
    local function inside() by_setfenv = 1 end
    setfenv(inside, _G)()
    assert(_G.by_setfenv == 1)
    setfenv(1, setmetatable({}, { __index = _G }))
    new_global = 1
    assert(rawget(_G, "new_global") == nil)

    local p = Point(3, 4) + ffi.new("torture_point", 0, 0)
    assert(p:length() == 5)
    local a = Anonymous(7, 0.5)
    assert(a.first == 7 and ffi.sizeof(Anonymous) == 16)
    assert(ffi.new("struct torture_named", 3).a == 3 and ffi.C.abs(-2) == 2)
    ffi.cdef "int abs(int);"
    local other = ffi.typeof "struct { char c[3]; }"
    assert(ffi.sizeof(other) == 3)

    self.object = setmetatable({ n = self.index }, Class)
    assert(self.object:twice() == 2 * self.index)
    if self.index % 10000 == 0 then print("in step " .. self.index) end
  end },
  join = { next = "finish", function(self, inputs)
    local sum = 0
    for _, input in ipairs(inputs) do sum = sum + input.object:twice() end
    self.sum = sum
  end },
  finish = function(self) assert(rawget(_G, "written_in_step") == nil); print(self.sum) end,
} }]]

test("30,000 tasks that declare, dress, overwrite and register do not meet", function(w)
  w:write("torture.lua", TORTURE)
  local result = w:run("torture.lua", "--max-workers", "4")
  equal(w:logs("last/finish"), "900030000\n")
  equal(w:logs("last/each"), "in step 10000\nin step 20000\nin step 30000\n")
  check(select(2, result.out:gsub("top level", "")) <= 1, "the output of the file's own code is not repeated")
end)

test("modules are loaded once per worker, from beside the flow first", function(w)
  w:write("sub/helper.lua", [[
local helper = { loads = 0 }
function helper.count() helper.loads = helper.loads + 1; return helper.loads end
return helper]])
  w:write("helper.lua", "error 'the wrong one'")
  w:write("sub/flow.lua", [[
local helper = require "helper"
return { params = { n = { default = 50 } }, steps = {
  start = { next = "each", foreach = "n" },
  each = { next = "join", function(self) self.count = helper.count() end },
  join = function(self, inputs)
    local most = 0
    for _, input in ipairs(inputs) do most = math.max(most, input.count) end
    self.most = most
  end,
} }]])
  w:run("sub/flow.lua", "--max-workers", "1")
  equal(w:artifacts("last/join").most, 50)
end)

test("a flow file that only builds its table is fresh for every task all the same", function(w)
  w:write("alone.lua", [[
return { params = { n = { default = 3000 } }, steps = {
  start = { next = "each", foreach = "n" },
  each = { next = "join", function(self)
    counter = (counter or 0) + 1
    self.count = counter
  end },
  join = function(self, inputs)
    assert(counter == nil)
    self.total = 0
    for _, count in ipairs(inputs:collect("count")) do self.total = self.total + count end
  end,
} }]])
  for _, workers in ipairs { "1", "4" } do
    w:run("alone.lua", "--max-workers", workers)
    equal(w:artifacts("last/join").total, 3000)
  end
end)

test("a module beside the flow comes before any of ours", function(w)
  w:write("argparse.lua", "return { mine = true }")
  w:write("own.lua", 'return { steps = { start = function() assert(require("argparse").mine) end } }')
  w:run("own.lua")
end)

test("what a step does to its surroundings ends with it", function(w)
  w:write("rude.lua", [[
return { steps = {
  start = { next = "a", function()
    getfenv(2).leak = 1
    getfenv(print).leak = 1
    setfenv(1, setmetatable({ mine = true }, { __index = getfenv(0) }))
    assert(getfenv(1).mine and getfenv().mine)
    debug.sethook(function() error("hook") end, "", 500)
  end },
  a = { next = "b", function()
    assert(leak == nil)
    for i = 1, 2000 do assert(tostring(i)) end
    io.output("a.txt")
  end },
  b = function()
    io.write("captured\n")
    string.format = function() return "mine" end
  end,
} }]])
  contains(w:run("rude.lua", "--max-workers", "1").out, "captured")
  w:write("changed.lua", [[
return { steps = {
  start = { next = "a", function() string.format = function() return "mine" end end },
  a = function(self) return self.nope end,
} }]])
  contains(w:expect(1, "run", "changed.lua", "--max-workers", "1").out, "flow changed has no artifact 'nope' in step a")
end)

test("inputs kept beyond their join cannot be read", function(w)
  w:write("kept.lua", [[
return { steps = {
  start = { next = { "a", "b" }, function(self) self.x = 1 end },
  a = { next = "join" },
  b = { next = "join" },
  join = { next = "after", function(self, inputs) string.kept = inputs end },
  after = function()
    for _, read in ipairs {
      function() return string.kept[1].x end,
      function() return string.kept[1]:has("x") end,
      function() return string.kept:collect("x") end,
    } do
      local ok, message = pcall(read)
      assert(not ok and message:find("belong to a join that has ended", 1, true), message)
    end
  end,
} }]])
  w:run("kept.lua", "--max-workers", "1")
end)

test("a finalizer that reads artifacts harms nobody", function(w)
  w:write("dying.lua", [[
return { steps = {
  start = { next = "a", function(self)
    self.big = {}
    for i = 1, 20000 do self.big[i] = { "text " .. i } end
    self.other = ("x"):rep(1000)
  end },
  a = { next = "b", function(self)
    for _ = 1, 200 do
      local dying = newproxy(true)
      getmetatable(dying).__gc = function() pcall(function() return self.other end) end
    end
    assert(#self.big == 20000)
    local kept = newproxy(true)
    getmetatable(kept).__gc = function() pcall(function() return self.x end) end
    string.kept = kept
  end },
  b = {},
} }]])
  w:run("dying.lua", "--max-workers", "1")
end)

test("a module that fails to load fails every time it is asked for", function(w)
  w:write("broken.lua", "error('not today')")
  w:write("asks.lua", [[
return { steps = { start = function()
  for _ = 1, 2 do
    local ok, message = pcall(require, "broken")
    assert(not ok and message:find("not today", 1, true), message)
  end
end } }]])
  w:run("asks.lua")
end)

test("os.exit in a step fails the task", function(w)
  w:write("exit.lua", [[
return { steps = { start = function() os.exit(0) end } }]])
  contains(w:expect(1, "run", "exit.lua").out, "os.exit needs isolate")
end)

test("print, io.write, io.stdout and io.stderr are captured, in order", function(w)
  w:write("prints.lua", [[
return { steps = {
  start = { next = "finish", function()
    print("a", 1, nil, true)
    io.write("b", 2, "\n")
    io.stdout:write("c\n")
    io.stdout:write("no ", "newline ")
    io.write("yet\n")
    io.stderr:write("err\n")
    print("two\nlines")
    io.write("unfinished")
  end },
  finish = {},
} }]])
  local result = w:run("prints.lua")
  local lines = { "a\t1\tnil\ttrue", "b2", "c", "no newline yet", "two", "lines", "unfinished" }
  equal(w:logs("last", "--stdout"):gsub("\n$", ""), table.concat(lines, "\n"))
  equal(w:logs("last", "--stderr"), "err\n")
  for _, line in ipairs(lines) do contains(result.out, "] " .. line .. "\n") end
  contains(result.out, "] err\n")
end)

-- ---- chance -------------------------------------------------------------------------------

local CHANCE = [[
local top = math.random()
return { params = { n = { default = 200 } }, steps = {
  start = { next = "each", foreach = "n", function(self) self.first = { top, math.random() } end },
  each = { next = "join", function(self)
    self.drawn = { top, math.random(), math.random(10), math.random(5, 6) }
  end },
  join = function(self, inputs)
    self.all = inputs:collect("drawn")
    self.own = math.random()
  end,
} }]]

test("a seed gives the same numbers whatever the number of workers", function(w)
  w:write("chance.lua", CHANCE)
  local function drawn(...)
    w:run("chance.lua", ...)
    local last = w:artifacts("last/join")
    return { last.all, last.own, w:artifacts("last/start").first }
  end
  local one = drawn("--seed", "42", "--max-workers", "1")
  equal(drawn("--seed=42", "--max-workers=4"), one)
  local other = drawn("--seed", "43")
  check(other[2] ~= one[2], "another seed gives other numbers")
  check(drawn()[2] ~= drawn()[2], "no seed is a random one")
  local seen = {}
  for _, numbers in ipairs(one[1]) do
    check(not seen[numbers[2]], "two tasks drew the same number")
    seen[numbers[2]] = true
    check(numbers[3] >= 1 and numbers[3] <= 10 and (numbers[4] == 5 or numbers[4] == 6))
  end
end)

support.done()
