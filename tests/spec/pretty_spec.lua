local native = { register = function() end }
package.loaded["luaflow.native"] = native
local ffi = require "ffi"
local pretty = require "luaflow.pretty"

local function is(expected, value, options) assert.equal(expected, pretty.format(value, options)) end

describe("what has no parts", function()
  it("is what could be typed", function()
    is("nil", nil)
    is("true", true)
    is("42", 42)
    is('"text"', "text")
    is("9007199254740993LL", 9007199254740993LL)
    is("1ULL", 1ULL)
  end)

  it("is a number to its last digit", function()
    is("0.1", 0.1)
    is("0.30000000000000004", 0.1 + 0.2)
    is("9007199254740992", 2 ^ 53)
    is("1e+100", 1e100)
    is("-0.0", -0)
    is("nan", 0 / 0)
    is("-inf", -1 / 0)
  end)

  it("is a string with everything in it that could not be seen", function()
    is([["a\"b\\c\n\t\r"]], 'a"b\\c\n\t\r')
    is([["\0001\0a\27["]], "\0001\0a\27[")
    is('"Grüße"', "Grüße")
    is([["\255\254"]], "\255\254")
    is([["\194\155"]], "\194\155")
  end)

  it("is cut when it is long", function()
    local text = pretty.format(("x"):rep(1000000))
    assert.truthy(text:find('^"x+"… %(1,000,000 bytes%)$'))
    assert.truthy(#text < 2100)
  end)

  it("is named when it cannot be written", function()
    local function f() end
    is("<function builtin#" .. tostring(print):match("builtin#(%d+)") .. ">", print)
    assert.truthy(pretty.format(f):find("^<function .*pretty_spec.lua:%d+>$"))
    assert.truthy(pretty.format(io.stdout):find("^file %(0x"))
    assert.truthy(pretty.format(coroutine.create(f)):find("^thread: 0x"))
  end)

  it("is an FFI array's type, length and beginning", function()
    is("double[3] { 0.5, 1, 2 }", ffi.new("double[3]", { 0.5, 1, 2 }))
    is("int64_t[1] { 7LL }", ffi.new("int64_t[?]", 1, { 7 }))
    is("uint8_t[1,000] { 0, 0, 0, 0, 0, 0, 0, 0, … }", ffi.new("uint8_t[?]", 1000))
    assert.truthy(pretty.format(ffi.new("struct { int x; }")):find("^cdata<"))
  end)

  it("is an object in its own words", function()
    is("<run F/3 done>", setmetatable({ 1, 2 }, { __tostring = function() return "<run F/3 done>" end }))
    is("{ 1 }", setmetatable({ 1 }, { __index = error }))
    assert.truthy(pretty.format(setmetatable({}, { __tostring = function() error("no", 0) end })):find(": no>"))
    is("^[[2J", setmetatable({}, { __tostring = function() return "\27[2J" end }))
  end)
end)

describe("a table", function()
  it("is one line where that is enough, its keys in order", function()
    is("{}", {})
    is("{ 1, 2, 3 }", { 1, 2, 3 })
    is('{ 1, a = "x", b = { 2 } }', { 1, b = { 2 }, a = "x" })
    is('{ [-1] = 0, [1.5] = 1, ["a b"] = 2, ["end"] = 3, x = 4, [true] = 5 }',
      { [-1] = 0, [1.5] = 1, ["a b"] = 2, ["end"] = 3, x = 4, [true] = 5 })
    is("{ 1, [3] = 3 }", { 1, nil, 3 })
  end)

  it("is several lines where it is not", function()
    is([[
{
  name = "ForeachFlow",
  steps = { start = { next = "a" } }
}]], { name = "ForeachFlow", steps = { start = { next = "a" } } }, { width = 40 })
    is([[
{
  {
    1,
    2
  },
  {}
}]], { { 1, 2 }, {} }, { width = 9 })
  end)

  it("is one line to the last column", function()
    is("{ 1, 2, 3 }", { 1, 2, 3 }, { width = 11 })
    is("{\n  1,\n  2,\n  3\n}", { 1, 2, 3 }, { width = 10 })
    is('{ "üüü" }', { "üüü" }, { width = 9 })
  end)

  it("is cut where it is endless", function()
    local t = { 1 }
    t[2] = t
    is("{ 1, <cycle> }", t)
    local twice = { 1 }
    is("{ { 1 }, { 1 } }", { twice, twice })
    local deep = {}
    for _ = 1, 20 do deep = { deep } end
    is("{ { { { { { { { {…} } } } } } } } }", deep)
    local long = {}
    for i = 1, 2500 do long[i] = 1 end
    assert.truthy(pretty.format(long):find("  … 2,400 more\n}$"))
    local wide = long
    for _ = 1, 7 do wide = { wide, wide, wide, wide, wide } end
    assert.truthy(#pretty.format(wide) < 100000)
  end)

  it("is coloured where that is wanted", function()
    is('{ a = \27[32m"x"\27[0m, b = \27[36m1\27[0m, c = \27[35mtrue\27[0m }', { a = "x", b = 1, c = true },
      { has_colours = true })
    is('{ \27[32m"x"\27[0m }', { "x" }, { has_colours = true, width = 7 })
  end)
end)
