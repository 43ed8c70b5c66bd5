local task = require "luaflow.task"

local originals, settled
local propagated     -- names that were propagated
local asked          -- how often each artifact was fetched

--- A store with these artifacts, parameters, … in it. `merged` is name → true for a conflict.
local function world(w)
  w = w or {}
  local artifacts, params, merged = w.artifacts or {}, w.params or {}, w.merged or {}
  asked, propagated = {}, {}
  local description = { params = {} }
  for name in pairs(params) do table.insert(description.params, { name = name }) end
  for _, name in ipairs(w.empty_params or {}) do table.insert(description.params, { name = name }) end
  originals, settled = task.bind {
    fetch = function(name)
      asked[name] = (asked[name] or 0) + 1
      if name == "damaged" then return nil, "the store is damaged" end
      if artifacts[name] == nil then return false end
      return true, artifacts[name]
    end,
    param = function(name)
      asked[name] = (asked[name] or 0) + 1
      local value = params[name]
      if type(value) == "function" then value = value() end
      if value == nil then return false end
      return true, value
    end,
    element = function() return true, w.element end,
    foreach_stack = function() return w.stack or {} end,
    flow_name = function() return "F" end,
    is_join = function() return w.inputs ~= nil end,
    input_names = function() return {} end,
    load = function(slot, name)
      local value = w.inputs[slot][name]
      return value ~= nil, value
    end,
    merge = function()
      local names, conflicts = {}, {}
      for name in pairs(merged) do names[#names + 1] = name end
      table.sort(names)
      for i, name in ipairs(names) do conflicts[i] = merged[name] end
      return names, conflicts
    end,
    propagate = function(names)
      for _, name in ipairs(names) do propagated[#propagated + 1] = name end
    end,
  }
  task.reset(description)
  return w
end

--- Runs a step of `flow` as step.c does; gives back its self.
local function call(flow, name, index, n_inputs)
  local self = task.begin(name, index)
  local step = task.find_step(flow)
  step(self, n_inputs and task.make_inputs(n_inputs))
  return self
end

--- Runs `step` in such a world; gives back its self.
local function run(step, w)
  w = world(w)
  return call({ steps = { s = step } }, "s", w.index, w.inputs and #w.inputs)
end

--- That `step` fails with this message, and blames a line of this file.
local function fails(message, step, w)
  local ok, got = pcall(run, step, w)
  assert.is_false(ok)
  local file, text = got:match("^(.-):%d+: (.*)$")
  assert.equal(message, text)
  assert.truthy(file:find("task_spec.lua", 1, true))
end

describe("an artifact", function()
  it("is a plain field once it was assigned", function()
    local self = run(function(self) self.x = 5 assert.equal(5, self.x) end)
    assert.equal(5, rawget(self, "x"))
    assert.is_nil(asked.x)
    assert.is_true(settled.x)
    assert.is_nil(originals.x)
  end)

  it("is loaded when it is touched, and once", function()
    local list = { 1 }
    local self = run(function(self)
      assert.equal(list, self.t)
      assert.equal(list, self.t)
    end, { artifacts = { t = list, other = 5 } })
    assert.same({ t = 1 }, asked)
    assert.equal(list, originals.t)
    assert.is_true(settled.t)
    assert.is_nil(rawget(self, "other"))
  end)

  it("may be false", function()
    run(function(self)
      assert.is_false(self.no)
      assert.is_true(self:has("no"))
      assert.is_false(self:get("no", 5))
    end, { artifacts = { no = false } })
    assert.same({ no = 1 }, asked)
  end)

  it("that is not there is an error naming flow, artifact and step", function()
    fails("flow F has no artifact 'y' in step s", function(self) return self.y end)
    fails("flow F has no artifact '1' in step s", function(self) return self[1] end)
  end)

  it("that was removed is not there any more", function()
    fails("flow F has no artifact 'x' in step s", function(self)
      self.x = nil
      assert.is_false(self:has("x"))
      return self.x
    end, { artifacts = { x = 1 } })
    fails("flow F has no artifact 'x' in step s", function(self)
      assert.equal(1, self.x)
      self.x = nil
      return self.x
    end, { artifacts = { x = 1 } })
  end)

  it("whose name begins with an underscore is scratch", function()
    local self = run(function(self)
      assert.is_nil(self._x)
      self._x = print
    end)
    assert.equal(print, rawget(self, "_x"))
  end)

  it("that the store cannot give says why", function()
    fails("the store is damaged", function(self) return self.damaged end)
  end)
end)

describe("self", function()
  it("has and gets", function()
    run(function(self)
      assert.is_true(self:has("x"))
      assert.is_false(self:has("y"))
      assert.equal(1, self:get("x", 9))
      assert.equal(9, self:get("y", 9))
      assert.is_nil(self:get("y"))
      self.y = 2
      assert.is_true(self:has("y"))
      assert.equal(2, self:get("y", 9))
    end, { artifacts = { x = 1 } })
  end)

  it("refuses names that are not an artifact's", function()
    fails("an artifact's name is a string, not 1 (a number)", function(self) self[1] = 2 end)
    fails("an artifact's name is a string, not true (a boolean)", function(self) self[true] = 2 end)
    fails("self.input is given by the foreach and cannot be set", function(self) self.input = 1 end)
    fails("self.index is given by the foreach and cannot be set", function(self) self.index = 1 end)
    for _, name in ipairs { "has", "get", "foreach_stack", "merge_artifacts" } do
      fails(("self.%s is a method: choose another name for the artifact"):format(name),
        function(self) self[name] = 1 end)
    end
  end)

  it("prints as what it is", function()
    run(function(self) assert.equal("<self of step s>", tostring(self)) end)
  end)

  it("refuses once its task has ended", function()
    local old = run(function(self) self.x = 1 end)
    world()
    for _, use in ipairs {
      function() return old.y end,
      function() old.y = 1 end,
    } do
      local ok, message = pcall(use)
      assert.is_false(ok)
      assert.truthy(message:find("task_spec.lua:%d+: this `self` belongs to a task that has ended$"))
    end
    run(function(self)
      local has = self.has
      assert.has_error(function() has(old, "x") end)
    end)
  end)
end)

describe("a parameter", function()
  it("is a field that cannot be assigned", function()
    run(function(self)
      assert.equal(5, self.n)
      assert.is_true(self:has("n"))
      assert.equal(5, self:get("n", 6))
    end, { params = { n = 5 } })
    fails("parameter 'n' cannot be changed: assign to another name", function(self) self.n = 6 end,
      { params = { n = 5 } })
  end)

  it("without a value reads as nil", function()
    run(function(self)
      assert.is_nil(self.n)
      assert.is_false(self:has("n"))
      assert.equal(6, self:get("n", 6))
    end, { empty_params = { "n" } })
  end)

  it("may be false", function()
    run(function(self)
      assert.is_false(self.n)
      assert.is_true(self:has("n"))
    end, { params = { n = false } })
  end)

  it("that is a table is each task's own; others are read once in a run", function()
    world { params = { t = function() return { 1 } end, n = 5 } }
    local flow = { steps = { s = function(self)
      assert.equal(1, self.t[1])
      assert.equal(self.t, self.t)
      self.t[1] = self.n
    end } }
    for _ = 1, 3 do
      call(flow, "s")
      task.reset()
    end
    assert.same({ t = 3, n = 1 }, asked)
  end)

  it("of another run is read anew", function()
    local seen = {}
    for n = 1, 2 do run(function(self) seen[n] = self.n end, { params = { n = n } }) end
    assert.same({ 1, 2 }, seen)
  end)

  it("never becomes an artifact", function()
    local self = run(function(self) return self.n end, { params = { n = 5 } })
    assert.is_nil(next(self))
    assert.is_nil(next(settled))
  end)
end)

describe("inside a foreach", function()
  it("there are an input, an index and a stack", function()
    local stack = { { step = "start", index = 3, size = 4, input = "e" } }
    run(function(self)
      assert.equal("e", self.input)
      assert.equal(3, self.index)
      assert.equal(stack, self:foreach_stack())
    end, { element = "e", index = 3, stack = stack })
  end)

  it("the element is one table however often it is read", function()
    run(function(self) assert.equal(self.input, self.input) end, { element = {}, index = 1 })
  end)

  it("the next task has its own element", function()
    run(function(self) assert.equal("a", self.input) end, { element = "a", index = 1 })
    run(function(self)
      assert.is_nil(self.input)
      assert.is_nil(self.index)
      assert.same({}, self:foreach_stack())
    end)
  end)
end)

describe("a step", function()
  it("may be a bare function or a table with its function", function()
    local flow = { steps = { a = { function(self) self.x = 1 end }, b = function(self) self.x = 2 end } }
    world()
    assert.equal(1, rawget(call(flow, "a"), "x"))
    world()
    assert.equal(2, rawget(call(flow, "b"), "x"))
  end)

  it("that the file has no more is told without a place", function()
    world()
    local ok, message = pcall(call, { steps = {} }, "a")
    assert.is_false(ok)
    assert.equal("the flow file has no step 'a' this time; a flow must not depend on chance or the clock", message)
  end)

  it("gets its inputs if it is a join", function()
    run(function(_, inputs)
      assert.equal(2, #inputs)
      assert.same({ 1, 2 }, { inputs[1].x, inputs[2].x })
    end, { inputs = { { x = 1 }, { x = 2 } } })
  end)
end)

describe("what step.c reads afterwards", function()
  it("is forgotten before the next task", function()
    run(function(self) self.x = self.y end, { artifacts = { y = 1 } })
    assert.same({ x = true, y = true }, settled)
    assert.same({ y = 1 }, originals)
    task.reset()
    assert.same({}, settled)
    assert.same({}, originals)
  end)
end)

describe("merging", function()
  local three = { inputs = { {}, {} }, merged = { a = false, b = false, c = true } }

  it("propagates what is not in conflict and not set", function()
    run(function(self, inputs)
      self.c, self.a = 1, 2
      self:merge_artifacts(inputs)
    end, three)
    assert.same({ "b" }, propagated)
  end)

  it("leaves what was removed alone", function()
    run(function(self, inputs)
      self.c, self.a = nil, nil
      self:merge_artifacts(inputs)
    end, three)
    assert.same({ "b" }, propagated)
  end)

  it("names every conflict, each once, and propagates nothing", function()
    local ok, message = pcall(run, function(self, inputs) self:merge_artifacts(inputs) end,
      { inputs = { {}, {} }, merged = { x = true, a = false, b = true } })
    assert.is_false(ok)
    assert.equal("Step s cannot merge the following artifacts due to them having conflicting values:\n[b, x].\n" ..
      "To remedy this issue, be sure to explicitly set those artifacts (using self.<artifact_name> = ...) " ..
      "prior to calling merge_artifacts.", message)
    assert.same({}, propagated)
  end)

  it("takes what is included, and not what is excluded", function()
    run(function(self, inputs) self:merge_artifacts(inputs, { include = { "a" } }) end, three)
    assert.same({ "a" }, propagated)
    run(function(self, inputs) self:merge_artifacts(inputs, { exclude = { "c", "never" } }) end, three)
    assert.same({ "a", "b" }, propagated)
    run(function(self, inputs) self:merge_artifacts(inputs, { include = {} }) end, three)
    assert.same({}, propagated)
  end)

  it("does not propagate a parameter", function()
    run(function(self, inputs) self:merge_artifacts(inputs) end,
      { inputs = { {} }, merged = { n = false, a = false }, params = { n = 5 } })
    assert.same({ "a" }, propagated)
  end)

  it("refuses what makes no sense", function()
    fails("merge_artifacts is for joins, and step s is none", function(self) self:merge_artifacts({}) end)
    fails("merge_artifacts needs the inputs of this join: self:merge_artifacts(inputs)",
      function(self) self:merge_artifacts() end, three)
    fails("merge_artifacts takes include or exclude, not both", function(self, inputs)
      self:merge_artifacts(inputs, { include = { "a" }, exclude = { "b" } })
    end, three)
    fails("merge_artifacts: include names 'n1', 'n2', which no input has", function(self, inputs)
      self:merge_artifacts(inputs, { include = { "n1", "a", "n2" } })
    end, three)
    fails("merge_artifacts: include is a list of artifact names", function(self, inputs)
      self:merge_artifacts(inputs, { include = "a" })
    end, three)
    fails("merge_artifacts: exclude is a list of artifact names", function(self, inputs)
      self:merge_artifacts(inputs, { exclude = 5 })
    end, three)
  end)
end)

describe("the step functions of a chunk", function()
  local function alone(source) return task.steps_alone(assert(loadstring(source))) end

  it("need no fresh chunk when it reads no global and they have no upvalues", function()
    local steps = alone "return { steps = { start = { next = 'b', function(self) x = print end }, b = {} } }"
    assert.equal("function", type(steps.start))
    assert.is_nil(steps.b)
  end)

  it("do when the chunk does anything else, or they share something", function()
    assert.is_nil(alone "local r = math.random() return { steps = { start = function() end } }")
    assert.is_nil(alone "local n = 0 return { steps = { start = function() n = n + 1 end } }")
    assert.is_nil(alone "seen = true return { steps = { start = function() end } }")
    assert.is_nil(alone "return 5")
    assert.is_nil(alone "return { steps = 5 }")
  end)
end)
