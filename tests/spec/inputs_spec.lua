local inputs = require "luaflow.inputs"

local loads -- "slot name" → how often it was loaded

--- The inputs of join j: `values` has a table of artifacts for each, `names` the names they
--- answer to besides.
local function join(values, names)
  loads = {}
  inputs.bind {
    flow_name = function() return "F" end,
    input_path = function(slot) return ("a[%d]"):format(slot) end,
    param = function(name)
      if name == "rate" then return true, 0.5 end
      return false
    end,
    load = function(slot, name)
      local key = slot .. " " .. name
      loads[key] = (loads[key] or 0) + 1
      if name == "damaged" then return nil, "the store is damaged" end
      local value = values[slot][name]
      return value ~= nil, value
    end,
    collect = function(name, has_default, default)
      local list = {}
      for slot = 1, #values do
        local value = values[slot][name]
        if name == "damaged" then return nil, "the store is damaged" end
        if value == nil and not has_default then return nil, slot end
        if value == nil then value = default end
        list[slot] = value
      end
      return list
    end,
  }
  return inputs.new("j", #values, names or {})
end

--- That `use` fails with this message, and blames a line of this file.
local function fails(message, use)
  local ok, got = pcall(use)
  assert.is_false(ok)
  local file, text = got:match("^(.-):%d+: (.*)$")
  assert.equal(message, text)
  assert.truthy(file:find("inputs_spec.lua", 1, true))
end

describe("the inputs of a join", function()
  it("are a list in declared order", function()
    local list = join { { x = 1 }, { x = 2 }, { x = 3 } }
    local seen = {}
    for i, input in ipairs(list) do seen[i] = input.x end
    assert.same({ 1, 2, 3 }, seen)
    assert.equal(3, #list)
    assert.is_nil(list[4])
    assert.is_nil(list[0])
  end)

  it("have the parameters too, as they were the same for all", function()
    local list = join { { x = 1 } }
    assert.equal(0.5, list[1].rate)
    assert.is_true(list[1]:has("rate"))
  end)

  it("say what is missing when a method is called with a dot", function()
    local list = join { { x = 1 } }
    fails("write input:has(…), with a colon", function() list[1].has("x") end)
    fails("write inputs:collect(…), with a colon", function() list.collect("x") end)
    fails("inputs:collect needs the name of an artifact, not a nil", function() list:collect() end)
  end)

  it("may be none", function()
    assert.equal(0, #join {})
    assert.same({}, (join {}):collect("x"))
  end)

  it("answer to names, of which the first given stands", function()
    local list = join({ { x = 1 }, { x = 2 } }, {
      { name = "a", slot = 1 }, { name = "b", slot = 2 }, { name = "a_last", slot = 1 }, { name = "b", slot = 1 },
    })
    assert.equal(list[1], list.a)
    assert.equal(list[1], list.a_last)
    assert.equal(list[2], list.b)
    assert.equal(2, list.b.x)
  end)

  it("are an error under another name, which says what there is", function()
    local branch = join({ {}, {} }, { { name = "b", slot = 1 }, { name = "a", slot = 2 } })
    fails("step j has no input 'c'; it has a, b", function() return branch.c end)
    local foreach = join { {}, {} }
    fails("step j has no input 'a'; it has inputs[1] to inputs[2]", function() return foreach.a end)
  end)

  it("cannot be set", function()
    local list = join { {} }
    fails("inputs.x cannot be set: assign to self", function() list.x = 1 end)
    fails("inputs.5 cannot be set: assign to self", function() list[5] = 1 end)
  end)

  it("collect one artifact of all", function()
    local list = join { { x = 1 }, { x = false }, { x = "3" } }
    assert.same({ 1, false, "3" }, list:collect("x"))
  end)

  it("collect a default where one is given, even nil", function()
    local list = join { { x = 1 }, {}, { x = 3 } }
    assert.same({ 1, 0, 3 }, list:collect("x", 0))
    assert.same({ [1] = 1, [3] = 3 }, list:collect("x", nil))
    fails("flow F has no artifact 'x' in a[2], input 2 of step j", function() list:collect("x") end)
    fails("the store is damaged", function() list:collect("damaged") end)
  end)
end)

describe("an input", function()
  it("loads an artifact when it is touched, and once", function()
    local list = join { { t = { 1 }, no = false } }
    assert.same({}, loads)
    assert.equal(list[1].t, list[1].t)
    assert.is_false(list[1].no)
    assert.is_false(list[1].no)
    assert.same({ ["1 t"] = 1, ["1 no"] = 1 }, loads)
  end)

  it("keeps its own values", function()
    local list = join { { t = { 1 } }, { t = { 1 } } }
    list[1].t[1] = "changed"
    assert.equal(1, list[2].t[1])
  end)

  it("has and gets", function()
    local input = join { { x = 1, no = false } } [1]
    assert.is_true(input:has("x"))
    assert.is_true(input:has("no"))
    assert.is_false(input:has("y"))
    assert.is_false(input:has(5))
    assert.equal(1, input:get("x", 9))
    assert.is_false(input:get("no", 9))
    assert.equal(9, input:get("y", 9))
    assert.is_nil(input:get("y"))
  end)

  it("without the artifact is an error that says which input", function()
    local list = join { { x = 1 }, {} }
    fails("flow F has no artifact 'x' in a[2], input 2 of step j", function() return list[2].x end)
    fails("flow F has no artifact '5' in a[1], input 1 of step j", function() return list[1][5] end)
  end)

  it("that cannot be read says why", function()
    local input = join { {} } [1]
    fails("the store is damaged", function() return input.damaged end)
    fails("the store is damaged", function() input:has("damaged") end)
    fails("the store is damaged", function() input:get("damaged", 1) end)
  end)

  it("cannot be set", function()
    local input = join { {} } [1]
    fails("artifact 'x' of an input cannot be set: assign it to self", function() input.x = 1 end)
  end)

  it("prints as what it is", function()
    assert.equal("<input a[2]>", tostring(join { {}, {} } [2]))
  end)

  it("of the next join is another", function()
    local first = join { { x = 1 } }
    assert.equal(1, first[1].x)
    assert.equal(2, join { { x = 2 } } [1].x)
  end)
end)
