-- The door as a step sees it: what a host has is in host_spec.
local registered -- what was asked of the state: name → metatable
local native = { register = function(name, metatable) registered[name] = metatable end }
package.loaded["luaflow.native"] = native
local luaflow = require "luaflow"

--- That `use` fails with this message, and blames a line of this file.
local function fails(message, use)
  local ok, got = pcall(use)
  assert.is_false(ok)
  local file, text = got:match("^(.-):%d+: (.*)$")
  assert.equal(message, text)
  assert.truthy(file:find("luaflow_spec.lua", 1, true))
end

local function keys(t)
  local list = {}
  for key, value in luaflow.sorted_pairs(t) do
    assert.equal(t[key], value)
    list[#list + 1] = tostring(key)
  end
  return table.concat(list, " ")
end

describe("sorted_pairs", function()
  it("goes through numbers, then strings, then booleans, each ascending", function()
    assert.equal("-2 1 2.5 10 B a b false true",
      keys { b = 1, a = 2, B = 3, [10] = 4, [2.5] = 5, [1] = 6, [-2] = 7, [true] = 8, [false] = 9 })
  end)

  it("goes through nothing, and through a list in order", function()
    assert.equal("", keys {})
    assert.equal("1 2 3 4 5 6 7 8 9 10 11 12", keys { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 })
  end)

  it("gives false values too", function()
    local seen = {}
    for key, value in luaflow.sorted_pairs { a = false, b = 1 } do seen[#seen + 1] = { key, value } end
    assert.same({ { "a", false }, { "b", 1 } }, seen)
  end)

  it("is the same every time, whatever the order of insertion", function()
    local one, two = {}, {}
    for i = 1, 100 do one["k" .. i] = i end
    for i = 100, 1, -1 do two["k" .. i] = i end
    assert.equal(keys(one), keys(two))
  end)

  it("lets the loop clear what it has seen", function()
    local t, n = { a = 1, b = 2, c = 3 }, 0
    for key in luaflow.sorted_pairs(t) do
      t[key] = nil
      n = n + 1
    end
    assert.equal(3, n)
    assert.is_nil(next(t))
  end)
end)

describe("register", function()
  it("tells the state and gives the metatable back", function()
    registered = {}
    local Vec2 = {}
    assert.equal(Vec2, luaflow.register("Vec2", Vec2))
    assert.equal(Vec2, registered.Vec2)
  end)

  it("wants a name and a metatable", function()
    registered = {}
    local no_name = 'luaflow.register needs the class\'s name: luaflow.register("Vec2", Vec2)'
    fails(no_name, function() luaflow.register() end)
    fails(no_name, function() luaflow.register("", {}) end)
    fails(no_name, function() luaflow.register({}, "Vec2") end)
    fails('luaflow.register("Vec2", …) needs a metatable, not a nil', function() luaflow.register("Vec2") end)
    fails('luaflow.register("Vec2", …) needs a metatable, not a string', function() luaflow.register("Vec2", "x") end)
    assert.same({}, registered)
  end)
end)

describe("current", function()
  it("is nothing outside a step", function() assert.is_nil(luaflow.current) end)

  it("is what the state says in a step", function()
    native.current = function() return { step_name = "a" } end
    assert.equal("a", luaflow.current.step_name)
    native.current = nil
  end)

  it("is the only thing that is looked up", function()
    native.current = function() return {} end
    assert.is_nil(luaflow.nothing)
    native.current = nil
  end)
end)

describe("what is for hosts", function()
  it("says so in a step", function()
    for name in ("run start resume check poll use Flow Run Step Task Artifact"):gmatch "%a+" do
      fails(("luaflow.%s is for hosts: a step can neither start runs nor read their results"):format(name),
        function() luaflow[name]("F/1") end)
    end
  end)
end)

it("the door is one table by either of its names", function()
  assert.equal(luaflow, require "luaflow.door")
end)
