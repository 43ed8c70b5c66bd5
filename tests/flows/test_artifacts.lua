#!/usr/bin/env luajit
-- What a step assigns on self arrives, exactly, in every later step; what cannot be stored is
-- refused by name.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check, contains = support.test, support.equal, support.check, support.contains

-- Both steps make the values anew and compare them bit by bit.
local VALUES = [[
local ffi = require "ffi"

local function bits(number)
  return number == number and ffi.string(ffi.new("double[1]", number), 8) or "nan"
end

local function array(kind, values)
  return ffi.new(kind .. "[?]", #values, values)
end

local function deep(n)
  local t = {}
  for _ = 2, n do t = { t } end
  return t
end

local function same(a, b, path)
  assert(type(a) == type(b), path .. ": " .. type(a) .. " is not " .. type(b))
  if type(a) == "number" then
    assert(bits(a) == bits(b), path .. ": " .. a .. " is not " .. b)
  elseif type(a) == "table" then
    assert(getmetatable(a) == nil, path .. " has a metatable")
    for k in pairs(a) do same(a[k], b[k], path .. "." .. tostring(k)) end
    for k in pairs(b) do assert(a[k] ~= nil, path .. " has no " .. tostring(k)) end
  elseif type(a) == "cdata" then
    assert(ffi.typeof(a) == ffi.typeof(b), path .. ": " .. tostring(ffi.typeof(a)))
    if ffi.istype("int64_t", a) or ffi.istype("uint64_t", a) then
      assert(a == b, path)
    else
      assert(ffi.sizeof(a) == ffi.sizeof(b), path .. " has another size")
      assert(ffi.string(a, ffi.sizeof(a)) == ffi.string(b, ffi.sizeof(b)), path .. " differs")
    end
  else
    assert(a == b, path)
  end
end

local function values()
  local v = {
    yes = true, no = false,
    zero = 0, minus_zero = -0, nan = 0 / 0, inf = math.huge, minus_inf = -math.huge,
    tiny = 4.9e-324, third = 1 / 3, whole = 2^53, beyond = 2^53 + 2, large = 2^63, negative = -2^53,
    small_negative = -33, byte = 255, word = 65536,
    empty = "", nul = "a\0b", bytes = "\255\254\0\128", text = "Grüße, 世界", long = ("x"):rep(70000),
    list = { 1, 2, 3 }, none = {}, nested = { { { "deep" } }, { a = { b = {} } } },
    sparse = { [1] = "a", [3] = "c", [1000000] = "z" }, trailing = { 1, 2, nil, 4, nil },
    mixed = { 1, 2, x = "y", [true] = 1, [false] = 0, [-1] = "m", [1.5] = "f", ["1"] = "s" },
    deepest = deep(200),
    int64 = -9223372036854775807LL - 1, uint64 = 18446744073709551615ULL,
    int64_exact = 9007199254740993LL,
    int8s = array("int8_t", { -128, 127 }), uint8s = array("uint8_t", { 0, 255 }),
    int16s = array("int16_t", { -32768 }), uint16s = array("uint16_t", { 65535 }),
    int32s = array("int32_t", { -2147483648 }), uint32s = array("uint32_t", { 4294967295 }),
    int64s = array("int64_t", { -1LL }), uint64s = array("uint64_t", { 18446744073709551615ULL }),
    floats = array("float", { 0.5, -0, math.huge }), doubles = array("double", { 1 / 3, -0 }),
    no_doubles = ffi.new("double[?]", 0), big = ffi.new("double[?]", 100000),
    inside = { array = array("int32_t", { 1, 2, 3 }), number = 7LL },
  }
  v.big[99999] = 42
  return v
end

return { steps = {
  start = { next = "between", function(self)
    for name, value in pairs(values()) do self[name] = value end
    self.nothing = nil
  end },
  between = { next = "finish" },
  finish = function(self)
    for name, value in pairs(values()) do same(self[name], value, name) end
    assert(not self:has("nothing"))
    print "all there"
  end,
} }]]

test("every kind of value arrives exactly", function(w)
  w:write("values.lua", VALUES)
  w:run("values.lua")
  equal(w:logs("last"), "all there\n")
end)

test("what JSON cannot say is shown with its type", function(w)
  w:write("values.lua", VALUES)
  w:run("values.lua")
  local found = w:tasks("last/finish")[1].artifacts
  equal(found.nan, { ["$type"] = "number", value = "nan" })
  equal(found.inf["$type"], "number")
  equal(found.bytes, { ["$type"] = "bytes", base64 = "//4AgA==" })
  equal(found.int64, { ["$type"] = "int64", value = "-9223372036854775808" })
  equal(found.uint64, { ["$type"] = "uint64", value = "18446744073709551615" })
  equal(found.int32s, { ["$type"] = "int32_t[]", values = { -2147483648 } })
  equal(found.none, {})
  equal(found.list, { 1, 2, 3 })
  equal(found.text, "Grüße, 世界")
  equal(found.nul, "a\0b")
  equal(found.mixed["$type"], "map")
  equal(#found.mixed.pairs, 8)
end)

test("equal values are equal bytes, in canonical MessagePack", function(w)
  w:write("bytes.lua", [[
return { steps = {
  start = { next = "finish", function(self)
    self.list, self.text, self.bytes, self.none = { 1, 2, 300 }, "hi", "\255", {}
    self.map, self.half, self.whole, self.truth = { b = 1, a = 2 }, 0.5, 2^53, true
  end },
  finish = function() end,
} }]])
  w:run("bytes.lua")
  local function raw(name) return w:expect(0, "dump", "last/start", "--raw", name).out end
  equal(raw("list"), "\147\1\2\205\1\44")
  equal(raw("text"), "\162hi")
  equal(raw("bytes"), "\196\1\255")
  equal(raw("none"), "\144")
  equal(raw("map"), "\130\161a\2\161b\1")
  equal(raw("half"), "\203\63\224\0\0\0\0\0\0")
  equal(raw("whole"), "\207\0\32\0\0\0\0\0\0")
  equal(raw("truth"), "\195")
end)

test("artifacts are passed on, changed in place, removed and read with a default", function(w)
  w:write("life.lua", [[
return { name = "Life", steps = {
  start = { next = "change", function(self)
    self.kept, self.changed, self.removed, self.t = { 1 }, { 1 }, "here", { n = 1 }
    self._scratch = function() end
    assert(self._scratch and self._unset == nil)
  end },
  change = { next = "look", function(self)
    assert(self._scratch == nil)
    table.insert(self.changed, 2)
    self.t.n = self.t.n + 1
    self.removed = nil
    assert(not self:has("removed"))
    self.brief = 1
    self.brief = nil
  end },
  look = { next = "finish", function(self)
    assert(self:has("kept") and not self:has("removed") and not self:has("brief"))
    assert(self:get("kept")[1] == 1 and self:get("removed") == nil)
    assert(self:get("removed", 7) == 7 and self:get("kept", 7)[1] == 1)
    self.seen = #self.changed
    local ok, message = pcall(function() return self.removed end)
    print(message)
  end },
  finish = function(self) assert(self.seen == 2 and self.t.n == 2) end,
} }]])
  w:run("life.lua")
  contains(w:logs("last"), "flow Life has no artifact 'removed' in step look")
  equal(w:artifacts("last/start"), { kept = { 1 }, changed = { 1 }, removed = "here", t = { n = 1 } })
  equal(w:artifacts("last/finish"), { kept = { 1 }, changed = { 1, 2 }, t = { n = 2 }, seen = 2 })
end)

test("a nil that was never there, and false, are what they are", function(w)
  w:write("nil.lua", [[
return { steps = {
  start = { next = "finish", function(self)
    self.never = nil
    self.off = false
  end },
  finish = function(self)
    assert(self:has("off") and self.off == false and self:get("off", 1) == false)
    assert(not self:has("never") and not self:has("anything"))
  end,
} }]])
  w:run("nil.lua")
end)

test("a step without a function passes everything on", function(w)
  w:write("pass.lua", [[
return { steps = {
  start = { next = "middle", function(self) self.x = { 1 } end },
  middle = { next = "finish" },
  finish = {},
} }]])
  w:run("pass.lua")
  equal(w:artifacts("last/finish"), { x = { 1 } })
end)

test("assigning what is not an artifact is an error that names it", function(w)
  w:write("assign.lua", [[
return { params = { size = { default = 3 }, list = { type = "json", default = { 1 } } }, steps = {
  start = { next = "finish", function(self)
    local function tried(name) print(select(2, pcall(function() self[name] = 1 end))) end
    for _, name in ipairs { "input", "index", "has", "get", "foreach_stack", "merge_artifacts" } do
      tried(name)
    end
    tried(12)
    tried(true)
    tried "size"
    self.list[1] = 99
  end },
  finish = function(self) assert(self.list[1] == 1) end,
} }]])
  w:run("assign.lua")
  local lines = {}
  for line in w:logs("last"):gmatch("[^\n]+") do lines[#lines + 1] = line end
  equal(#lines, 9)
  for i, piece in ipairs { "input", "index", "has", "get", "foreach_stack", "merge_artifacts", "12",
                           "true", "size" } do
    contains(lines[i], "assign.lua:3:", piece)
  end
end)

--- Tests that a value is refused with a message.
local function unstorable(sentence, code, ...)
  local pieces = { ... }
  test("refuses to store " .. sentence, function(w)
    w:write("refused.lua", "local ffi = require 'ffi'\nreturn { steps = { start = function(self) "
      .. code .. " end } }")
    local result = w:expect(1, "run", "refused.lua")
    contains(result.out, unpack(pieces))
    equal(w:tasks("last")[1].artifacts, {})
  end)
end

unstorable("a function, naming where it is",
  "self.model = { layers = { {}, {}, { act = print } } }",
  "artifact 'model' cannot be stored: model.layers[3].act is a function")
unstorable("a function at the top", "self.f = print", "artifact 'f' cannot be stored: f is a function")
unstorable("a coroutine", "self.x = { co = coroutine.create(print) }", "'x' cannot be stored: x.co is a")
unstorable("userdata", "self.x = { io.stdout }", "'x' cannot be stored: x[1] is ")
unstorable("a struct", "self.x = { v = ffi.new 'struct { int a; }' }", "'x' cannot be stored: x.v is ")
unstorable("a pointer", "self.x = ffi.cast('void *', 1)", "'x' cannot be stored: x is ")
unstorable("a table with a metatable", "self.x = { ['a b'] = setmetatable({}, {}) }",
  "'x' cannot be stored: x[\"a b\"] is ", "metatable")
unstorable("a cycle", "local t = {}; t.next = { [true] = t }; self.x = t",
  "'x' cannot be stored: x.next[true] ")
unstorable("a table that is too deep",
  "local t = {}; for _ = 2, 201 do t = { t } end; self.x = t", "'x' cannot be stored: x[1]", "200")
unstorable("a table as a key", "self.x = { [{}] = 1 }", "'x' cannot be stored: ", "table")

test("a failed task leaves no artifact at all", function(w)
  w:write("half.lua", [[
return { steps = {
  start = { next = "bad", function(self) self.good = 1 end },
  bad = { next = "finish", function(self) self.half = 1; self.rest = print end },
  finish = {},
} }]])
  w:expect(1, "run", "half.lua")
  local tasks = w:tasks("last")
  equal({ tasks[1].status, tasks[1].artifacts }, { "done", { good = 1 } })
  equal({ tasks[2].status, tasks[2].artifacts }, { "failed", {} })
end)

test("a class that is registered gets its metatable back", function(w)
  w:write("vec.lua", [[
local luaflow = require "luaflow"
local Vec2 = {}
Vec2.__index = Vec2
Vec2.__add = function(a, b) return setmetatable({ x = a.x + b.x, y = a.y + b.y }, Vec2) end
function Vec2:length() return math.sqrt(self.x * self.x + self.y * self.y) end
luaflow.register("Vec2", Vec2)
return { steps = {
  start = { next = "finish", function(self)
    self.v = setmetatable({ x = 3, y = 4 }, Vec2)
    self.list = { self.v, setmetatable({ x = 0, y = 0 }, Vec2) }
  end },
  finish = function(self)
    assert(self.v:length() == 5 and getmetatable(self.list[2]) == Vec2)
    local sum = self.v + self.list[1]
    self.sum = sum
    print(sum:length())
  end,
} }]])
  w:run("vec.lua")
  equal(w:logs("last"), "10\n")
  equal(w:artifacts("last/finish").v, { ["$type"] = "class", name = "Vec2", value = { x = 3, y = 4 } })
end)

test("a class that nobody registers when it is read is a plain table", function(w)
  w:write("plain.lua", [[
local luaflow = require "luaflow"
return { steps = {
  start = { next = "finish", function(self)
    local Vec2 = {}
    luaflow.register("Vec2", Vec2)
    self.v = setmetatable({ x = 3 }, Vec2)
  end },
  finish = function(self) assert(self.v.x == 3) end,
} }]])
  w:run("plain.lua")
end)

test("an instance that is only read stays what it is, whatever worker reads it", function(w)
  w:write("strip.lua", [[
local luaflow = require "luaflow"
return { steps = {
  start = { next = "look", function(self)
    local V = {}
    luaflow.register("Vec2", V)
    self.v = setmetatable({ x = 1 }, V)
    self.n = 40
  end },
  look = { next = "work", foreach = "n" },
  work = { next = "join", function(self)
    assert(self.v.x == 1 and getmetatable(self.v) == nil)
    self.mine = self.index
  end },
  join = function(self, inputs) self:merge_artifacts(inputs, { exclude = { "mine" } }) end,
} }]])
  for _, workers in ipairs { "1", "4" } do
    w:run("strip.lua", "--max-workers", workers)
    equal(w:artifacts("last/join").v, { ["$type"] = "class", name = "Vec2", value = { x = 1 } })
  end
end)

test("-0 put where 0 was read is kept", function(w)
  w:write("zero.lua", [[
return { steps = {
  start = { next = "b", function(self) self.x = 0 end },
  b = { next = "c", function(self) assert(self.x == 0) self.x = -0 end },
  c = function(self) assert(1 / self.x == -math.huge) end,
} }]])
  w:run("zero.lua")
end)

-- Strings whose canonical bytes, 512 of them, have one XXH3-128 for every v: where the low half
-- of (lane ^ secret) is zero the high one counts only in a sum over the stripes.
local COLLIDE = [[
local function u32(n)
  return string.char(n % 256, math.floor(n / 256) % 256, math.floor(n / 65536) % 256, math.floor(n / 16777216))
end

local function collide(v)
  local head = ("x"):rep(5) .. "\124\1\129\44" .. u32(0x10000000 + v) .. ("x"):rep(56)
  local s = head .. "\222\212\109\233" .. u32(0x10000000 - v)
  return s .. ("x"):rep(509 - #s)
end
]]

test("artifacts whose keys collide are kept apart", function(w)
  w:write("collide.lua", COLLIDE .. [[
return { steps = {
  start = { next = "again", function(self) self.x = collide(1) end },
  again = { next = { "a", "b" }, function(self)
    assert(self.x == collide(1))
    self.x = collide(2)
  end },
  a = { next = "join", function(self)
    assert(self.x == collide(2))
    self.m = collide(3)
  end },
  b = { next = "join", function(self) self.m = collide(4) end },
  join = { next = "finish", function(self, inputs)
    local ok, message = pcall(self.merge_artifacts, self, inputs)
    assert(not ok and message:find("[m]", 1, true), message)
    assert(inputs.a.m == collide(3) and inputs.b.m == collide(4))
    self.both = { inputs.a.m, inputs.b.m }
    self.a, self.b = collide(3), collide(4)
  end },
  finish = function(self)
    assert(self.a == collide(3) and self.b == collide(4))
    assert(self.both[1] == self.a and self.both[2] == self.b)
  end,
} }]])
  w:run("collide.lua")
  for _, step in ipairs { "start", "again", "a", "b" } do w:artifacts("last/" .. step) end
  assert(w:artifacts("last/start").x["$type"] == "bytes")
  assert(w:artifacts("last/start").x.base64 ~= w:artifacts("last/again").x.base64)
  assert(w:artifacts("last/a").m.base64 ~= w:artifacts("last/b").m.base64)
end)

test("a table reached twice is stored twice", function(w)
  w:write("twice.lua", [[
return { steps = {
  start = { next = "finish", function(self)
    local t = { 1 }
    self.x = { t, t }
  end },
  finish = function(self)
    self.x[1][1] = 2
    assert(self.x[2][1] == 1)
  end,
} }]])
  w:run("twice.lua")
end)

test("sorted_pairs goes through numbers, strings and booleans", function(w)
  w:write("sorted.lua", [[
local luaflow = require "luaflow"
return { steps = { start = function()
  for k in luaflow.sorted_pairs { b = 1, a = 1, [10] = 1, [2] = 1, [true] = 1, [false] = 1 } do
    print(tostring(k))
  end
end } }]])
  w:run("sorted.lua")
  local lines = {}
  for line in w:logs("last"):gmatch("[^\n]+") do lines[#lines + 1] = line end
  equal({ lines[1], lines[2], lines[3], lines[4] }, { "2", "10", "a", "b" })
  equal(#lines, 6)
end)

test("a step knows who it is", function(w)
  w:write("current.lua", [[
return { name = "Who", params = { n = { default = 3 } }, steps = {
  start = { next = "each", foreach = "n" },
  each = { next = "join", function(self)
    local c = require("luaflow").current
    self.who = { c.flow_name, c.step_name, c.run_id, c.task_id, c.pathspec, c.retry_count,
                 c.tags[1], c.params.n }
  end },
  join = { function(self, inputs) self.all = inputs:collect("who") end },
} }]])
  w:run("current.lua", "--tag", "mine", "--max-workers", "1")
  local tasks = w:tasks("last/each")
  equal(#tasks, 3)
  for _, task in ipairs(tasks) do
    local id = tonumber(task.pathspec:match("^Who/1/each/(%d+)$"))
    equal(task.artifacts.who, { "Who", "each", 1, id, task.pathspec, 0, "mine", 3 })
  end
end)

test("an artifact is loaded when it is touched, not before", function(w)
  w:write("lazy.lua", [[
return { steps = {
  start = { next = "finish", function(self)
    for i = 1, 40 do self["a" .. i] = ("%d"):format(i):rep(1000000) end
  end },
  finish = function(self)
    collectgarbage()
    local before = collectgarbage("count")
    assert(#self.a7 == 1000000)
    self.grown = collectgarbage("count") - before
  end,
} }]])
  w:run("lazy.lua")
  check(tonumber(w:expect(0, "get", "last/grown").out) < 5000, "more than one artifact was loaded")
end)

support.done()
