local flow = require "luaflow.flow"
local nearest = require "luaflow.nearest"

local HERE = debug.getinfo(1, "S").source:match("^@(.*)")

local function step() end
local function line_of(fn) return debug.getinfo(fn, "S").linedefined end

--- The normal table of a flow without problems.
local function normal(raw, with)
  local table_, problems, functions = flow.normalise(raw, HERE, "titles", with)
  assert.equal("", flow.report(problems, HERE))
  return table_, functions
end

--- What is told of a flow, without the file.
local function told(raw)
  local _, problems = flow.normalise(raw, HERE, "titles")
  local sentences = {}
  for i, problem in ipairs(problems) do sentences[i] = problem.sentence end
  return table.concat(sentences, "\n")
end

--- What is told of a step.
local function told_of(spec) return told { steps = { start = spec } } end
local function told_of_param(spec, name) return told { steps = {}, params = { [name or "x"] = spec } } end

local function step_of(spec, with) return normal({ steps = { start = spec } }, with).steps[1] end
local function param_of(spec) return normal({ steps = {}, params = { x = spec } }).params[1] end

describe("a flow", function()
  it("has its file's name unless it has its own", function()
    assert.equal("titles", normal({ steps = {} }).name)
    assert.equal("Own", normal({ name = "Own", steps = {} }).name)
    assert.equal("D", normal({ doc = "D", steps = {} }).doc)
    assert.equal(HERE, normal({ steps = {} }).file)
  end)

  it("has a name that can stand in a pathspec", function()
    assert.equal([[the flow's name "a/b" is wrong: write at most 128 bytes without '/']],
      told { name = "a/b", steps = {} })
    assert.equal("the flow has name = 5: write a string", told { name = 5, steps = {} })
    assert.equal("the flow has name = \"\": write a string", told { name = "", steps = {} })
  end)

  it("has known keys only", function()
    assert.equal("the flow has an unknown key 'parms'; the nearest known one is 'params'",
      told { parms = {}, steps = {} })
    assert.equal("the flow has doc = 1: write a string", told { doc = 1, steps = {} })
  end)

  it("has steps", function()
    assert.equal("the flow has no steps; return { steps = { start = function(self) … end, … } }", told {})
    assert.equal("steps is a number; write steps = { start = function(self) … end, … }", told { steps = 5 })
    assert.equal("the flow has its steps at the top; put them into steps = { start = …, … }", told { start = step })
    assert.equal("the flow has an unknown key 'step'; the nearest known one is 'steps'", told { step = {} })
    assert.is_nil((flow.normalise({}, HERE, "x")).steps)
  end)
end)

describe("a step", function()
  it("is a function, or a table with one first, or without", function()
    local function run(self) return self end
    local table_, functions = normal { steps = { a = run, b = { run, doc = "B" }, c = {} } }
    local where = ("%s:%d"):format(HERE, line_of(run))
    assert.same({
      { name = "a", kind = "last", next = {}, join = false, has_function = true, where = where, line = line_of(run) },
      { name = "b", kind = "last", next = {}, join = false, has_function = true, where = where, line = line_of(run),
        doc = "B" },
      { name = "c", kind = "last", next = {}, join = false, has_function = false },
    }, table_.steps)
    assert.same({ a = run, b = run }, functions.steps)
  end)

  it("is a join when its function declares a second parameter", function()
    assert.is_true(step_of(function(_, _) end).join)
    assert.is_false(step_of(function(_) end).join)
    assert.is_false(step_of(function() end).join)
  end)

  it("has a function of one or two parameters, written in Lua", function()
    assert.equal("step 'start' has a vararg function; write function(self), or function(self, inputs) for a join",
      told_of(function(_, ...) return ... end))
    assert.equal("step 'start' has a function of 3 parameters; write function(self), or function(self, inputs) for a "
      .. "join", told_of(function(_, _, _) end))
    assert.equal("step 'start' is a C function; wrap it: function(self) … end", told_of(print))
    assert.is_true(flow.normalise({ steps = { start = { print, next = "a" } } }, HERE, "x").steps[1].doubtful)
  end)

  it("is nothing else", function()
    assert.equal("step 'start' is a string; write a function, or a table with the function first", told_of("a"))
    assert.equal("step 'start' has a string at [1], where its function goes", told_of { "a" })
    assert.equal("step 'start' has two functions; a step has one", told_of { step, step })
    assert.equal("step 'start' has doc = 1: write a string", told_of { step, doc = 1 })
  end)

  it("has known keys only", function()
    assert.equal("step 'start' has an unknown key 'nxt'; the nearest known one is 'next'", told_of { step, nxt = "a" })
    assert.matches("^step 'start' has an unknown key %[3%]; the known ones are next, foreach,",
      told_of { step, [3] = 1 })
  end)

  it("has an identifier as its name", function()
    assert.equal("", told { steps = { _a1 = step, ["end"] = step, [("x"):rep(128)] = step } })
    assert.equal("a step's name is wrong: \"a b\" is no identifier: write letters, digits and _, no digit first",
      told { steps = { ["a b"] = step } })
    assert.equal("a step's name is wrong: \"1a\" is no identifier: write letters, digits and _, no digit first",
      told { steps = { ["1a"] = step } })
    assert.equal("a step's name is wrong: 1 is no name: a name is a string", told { steps = { step } })
    assert.equal("a step's name is wrong: the name 'xxxxxxxxxxxxxxxxxxxx…' is longer than 128 bytes",
      told { steps = { [("x"):rep(129)] = step } })
    assert.equal("step 'collect' has a reserved name (inputs:collect is a method); choose another",
      told { steps = { collect = step } })
  end)
end)

describe("a transition", function()
  local function transition(spec)
    local got = step_of(spec)
    return { kind = got.kind, next = got.next, cases = got.cases, foreach = got.foreach, switch = got.switch }
  end

  it("is linear, a branch, a foreach or a switch", function()
    assert.same({ kind = "last", next = {} }, transition { step })
    assert.same({ kind = "linear", next = { "a" } }, transition { step, next = "a" })
    assert.same({ kind = "branch", next = { "b", "a" } }, transition { step, next = { "b", "a" } })
    assert.same({ kind = "foreach", next = { "a" }, foreach = "x" }, transition { step, next = "a", foreach = "x" })
    assert.same({ kind = "switch", next = { "a" }, cases = { { key = "k", next = "a" } }, switch = "x" },
      transition { step, next = { k = "a" }, switch = "x" })
  end)

  it("has its cases in order: numbers, strings, booleans", function()
    local got = transition { step, switch = "x",
      next = { [true] = "e", b = "d", [10] = "b", a = "c", [2] = "a", [false] = "f" } }
    assert.same({ "a", "b", "c", "d", "f", "e" }, got.next)
    assert.same({ key = 2, next = "a" }, got.cases[1])
    assert.same({ { key = 1, next = "a" }, { key = 2, next = "b" } }, transition { step, switch = "x",
      next = { "a", "b" } }.cases)
  end)

  it("leaves to the graph what the graph can tell", function()
    assert.same({ kind = "foreach", next = {}, foreach = "x" }, transition { step, foreach = "x" })
    assert.same({ kind = "foreach", next = { "a", "b" }, foreach = "x" },
      transition { step, foreach = "x", next = { "a", "b" } })
    assert.same({ kind = "switch", next = {}, switch = "x" }, transition { step, switch = "x" })
    assert.same({ kind = "branch", next = { "a" } }, transition { step, next = { "a" } })
  end)

  it("is refused when it makes no sense, and its step is marked", function()
    for sentence, spec in pairs {
      ["has next = 5; write the name of a step, or a table of names"] = { next = 5 },
      ["has next = \"a\\0b\"; write the name of a step, or a table of names"] = { next = "a\0b" },
      ["branches to 5; write the name of a step"] = { next = { "a", 5 } },
      ["has a next that is no list; write next = { \"a\", \"b\" }"] = { next = { "a", [3] = "b" } },
      ["names cases in next but no switch; write switch = \"artifact\", the one whose value decides"] =
        { next = { k = "a" } },
      ["has switch = \"x\" but one target; write next = { key = \"step\", … } with a step for every value"] =
        { next = "a", switch = "x" },
      ["goes to 5 in the case \"k\"; write the name of a step"] = { next = { k = 5 }, switch = "x" },
      ["has a function as a case; a case is a string, a number or a boolean"] =
        { next = { [step] = "a" }, switch = "x" },
      ["has foreach = \"x\" and a table as next; write next = \"a\""] = { next = { "a" }, foreach = "x" },
      ["has foreach = 5; write the name of an artifact or parameter"] = { next = "a", foreach = 5 },
      ["has switch = \"\"; write the name of an artifact or parameter"] = { next = { "a" }, switch = "" },
      ["has foreach = \"_x\", but names with _ first are never stored; choose another"] =
        { next = "a", foreach = "_x" },
      ["has foreach = \"input\", but self has something of that name and no artifact can; choose another"] =
        { next = "a", foreach = "input" },
      ["has switch = \"get\", but self has something of that name and no artifact can; choose another"] =
        { next = { "a" }, switch = "get" },
      ["has both foreach and switch; give one of them to a step of its own"] =
        { next = { "a", "b" }, foreach = "x", switch = "y" },
    } do
      assert.equal("step 'start' " .. sentence, told_of(spec))
      assert.is_true(flow.normalise({ steps = { start = spec } }, HERE, "x").steps[1].broken)
    end
  end)
end)

describe("an attribute", function()
  it("has one normal form", function()
    local got = step_of { step, retry = 3, timeout = 0.5, catch = "failure", env = { A = "" }, max_parallel = 4,
      resources = { cpu = 2, memory = 0.5 } }
    assert.same({ times = 3, delay = 0, backoff = 1 }, got.retry)
    assert.equal(0.5, got.timeout)
    assert.equal("failure", got.catch)
    assert.same({ A = "" }, got.env)
    assert.same({ cpu = 2, memory = 0.5 }, got.resources)
    assert.equal(4, got.max_parallel)
    assert.same({ times = 0, delay = 1.5, backoff = 2 },
      step_of { step, retry = { times = 0, delay = 1.5, backoff = 2 } }.retry)
  end)

  it("isolates when it needs to", function()
    assert.is_true(step_of { step, timeout = 1 }.isolate)
    assert.is_true(step_of { step, env = {} }.isolate)
    assert.is_true(step_of { step, isolate = true }.isolate)
    assert.is_false(step_of { step, isolate = false }.isolate)
    assert.is_nil(step_of { step, retry = 1 }.isolate)
  end)

  it("is refused with what to write", function()
    local retry = "write a whole number of further attempts, or { times = 3, delay = 10, backoff = 2 }"
    for _, case in ipairs {
      { { retry = -1 }, "retry = -1: " .. retry }, { { retry = 1.5 }, "retry = 1.5: " .. retry },
      { { retry = "3" }, "retry = \"3\": " .. retry }, { { retry = {} }, "retry.times = nil: " .. retry },
      { { retry = { times = 1, delay = -1 } }, "retry.delay = -1: write seconds, from 0" },
      { { retry = { times = 1, backoff = 0.5 } }, "retry.backoff = 0.5: write a factor, from 1" },
      { { retry = { time = 1 } }, "retry = {…}: it has an unknown key 'time'; the nearest known one is 'times'" },
      { { timeout = 0 }, "timeout = 0: write seconds, more than 0" },
      { { timeout = math.huge }, "timeout = inf: write seconds, more than 0" },
      { { timeout = "5" }, "timeout = \"5\": write seconds, more than 0" },
      { { catch = 1 }, "catch = 1: write the name of the artifact that gets the failure, as in catch = \"failure\"" },
      { { catch = "_x" }, "catch = \"_x\": names with _ first are never stored" },
      { { catch = "input" }, "catch = \"input\": self has something of that name already" },
      { { isolate = 1 }, "isolate = 1: write true or false" },
      { { env = { A = 1 } }, "env.A = 1: write a table of strings, { NAME = \"value\" }" },
      { { env = { "A" } }, "env = {…}: 1 is no name of a variable" },
      { { env = "A=1" }, "env = \"A=1\": write a table of strings, { NAME = \"value\" }" },
      { { resources = 2 }, "resources = 2: write { cpu = 2, memory = 4096, gpu = 0 }" },
      { { resources = { cpu = 0 } }, "resources.cpu = 0: write a whole number, from 1" },
      { { resources = { cpu = 1.5 } }, "resources.cpu = 1.5: write a whole number, from 1" },
      { { resources = { gpu = -1 } }, "resources.gpu = -1: write a number, from 0" },
      { { resources = { ram = 1 } }, "resources = {…}: it has an unknown key 'ram'; the nearest known one is 'cpu'" },
      { { max_parallel = 0 }, "max_parallel = 0: write how many tasks at once, a whole number from 1" },
    } do
      assert.equal("step 'start' has " .. case[2], told_of(case[1]))
    end
  end)

  it("catches only where nothing hangs on the outcome", function()
    local cure = ": a step that decides what follows cannot succeed by failing; leave catch out, or let a step of its "
      .. "own decide"
    assert.equal("step 'start' has catch and a branch" .. cure, told_of { catch = "f", next = { "a", "b" } })
    assert.equal("step 'start' has catch and a foreach" .. cure, told_of { catch = "f", next = "a", foreach = "x" })
    assert.equal("step 'start' has catch and a switch" .. cure, told_of { catch = "f", next = { "a" }, switch = "x" })
    assert.equal("step 'start' has catch = \"f\": a parameter has that name and cannot be written",
      told { params = { f = { default = 1 } }, steps = { start = { catch = "f" } } })
  end)
end)

describe("attributes for every step", function()
  local function with(...)
    local list = {}
    for i, text in ipairs { ... } do
      local name, value = text:match("^(.-)=(.*)$")
      list[i] = { name = name, value = value }
    end
    return flow.with(list)
  end

  it("are given as texts", function()
    assert.same({ retry = { times = 2, delay = 0, backoff = 1 }, isolate = true, catch = "f", timeout = 0.5 },
      with("retry=2", "isolate=true", "catch=f", "timeout=0.5"))
  end)

  it("go to steps that may have them and have none", function()
    local steps = { a = { step, retry = 1, next = { "b", "c" } }, b = { step }, c = { isolate = false } }
    local got = normal({ steps = steps }, with("retry=2", "isolate=true", "catch=f")).steps
    assert.equal(1, got[1].retry.times)
    assert.is_nil(got[1].catch)
    assert.equal(2, got[2].retry.times)
    assert.equal("f", got[2].catch)
    assert.is_true(got[2].isolate)
    assert.is_false(got[3].isolate)
    assert.is_true(step_of({ step }, with("timeout=1")).isolate)
  end)

  it("are refused when wrong", function()
    local got, why = with("retry=x")
    assert.is_nil(got)
    assert.equal("--with retry=x: retry = \"x\": write a whole number of further attempts, or { times = 3, delay = 10, "
      .. "backoff = 2 }", why)
    got, why = with("rety=1")
    assert.is_nil(got)
    assert.equal("--with rety=1: there is no attribute 'rety'; the nearest is 'retry'", why)
    got, why = with("env=x")
    assert.is_nil(got)
    assert.equal("--with env=x: env = \"x\": write a table of strings, { NAME = \"value\" }", why)
  end)
end)

describe("a parameter", function()
  it("has the type of its default", function()
    for kind, default in pairs { string = "x", number = 1.5, boolean = false, json = { a = 1 } } do
      assert.same({ name = "x", type = kind, default = default }, param_of { default = default })
    end
    assert.equal("number", param_of { default = 1 }.type)
    assert.equal("string", param_of({}).type)
    assert.equal("integer", param_of { type = "integer", default = 1 }.type)
  end)

  it("keeps what it is described by", function()
    assert.same({ name = "x", type = "string", help = "H", required = true, choices = { "a", "b" } },
      param_of { help = "H", required = true, choices = { "a", "b" } })
  end)

  it("may compute its default", function()
    local function compute() end
    local got, functions = normal { steps = {}, params = { x = { default = compute }, y = { type = "number",
      default = compute } } }
    assert.same({ { name = "x", type = "string", computed = true, untyped = true },
      { name = "y", type = "number", computed = true } }, got.params)
    assert.same({ x = compute, y = compute }, functions.defaults)
  end)

  it("may be a list, of the type of the first default", function()
    assert.same({ name = "x", type = "string", separator = ",", default = { "a", "b" } },
      param_of { separator = ",", default = "a,b" })
    assert.same({ name = "x", type = "number", separator = ",", default = { 1, 2 } },
      param_of { separator = ",", default = { 1, 2 } })
    assert.same({ name = "x", type = "integer", separator = ",", default = { 1, 2 } },
      param_of { type = "integer", separator = ",", default = "1,2" })
    assert.same({ name = "x", type = "string", separator = ";" }, param_of { separator = ";" })
  end)

  it("reads JSON in a default", function()
    assert.same({ a = { 1 } }, param_of { type = "json", default = '{"a":[1]}' }.default)
    assert.is_nil(param_of { type = "json", default = "null" }.default)
  end)

  it("leaves the default of a file a path", function()
    assert.equal("nowhere.csv", param_of { type = "file", default = "nowhere.csv" }.default)
  end)

  it("is refused with what to write", function()
    for _, case in ipairs {
      { 5, "is a number; write x = { default = 5 }" },
      { { hlp = "" }, "has an unknown key 'hlp'; the nearest known one is 'help'" },
      { { help = 5 }, "has help = 5: write a string" },
      { { required = 1 }, "has required = 1: write true or false" },
      { { separator = "" }, "has separator = \"\": write what stands between two values, as in \",\"" },
      { { type = "file", separator = "," }, "has type = \"file\" and a separator; a file's content is one value" },
      { { type = "int" }, "has type = \"int\"; the types are string, number, integer, boolean, json, file, the nearest "
        .. "is 'integer'" },
      { { type = "number", default = "5" }, "has default = \"5\", which is not a number" },
      { { type = "integer", default = 0.5 }, "has default = 0.5, which is not an integer" },
      { { type = "file", default = 1 }, "has default = 1, which is not a file (the path of one)" },
      { { choices = {} }, "has choices = {…}: write a list of values, { \"low\", \"high\" }" },
      { { choices = "low" }, "has choices = \"low\": write a list of values, { \"low\", \"high\" }" },
      { { choices = { "low", 1 } }, "has 1 in choices, which is not a string" },
      { { default = "mid", choices = { "low" } },
        "has a wrong default: it takes a string, not 'mid': the choices are low" },
      { { default = { 1, "x" }, separator = "," },
        "has a wrong default: it takes a list of number values separated by ',', not 'x'" },
    } do
      assert.equal("parameter 'x' " .. case[2], told_of_param(case[1]))
    end
    assert.equal("params is a string; write params = { name = { default = … }, … }", told { steps = {}, params = "x" })
  end)

  it("has a name that is free", function()
    assert.equal("a parameter's name is wrong: \"a-b\" is no identifier: write letters, digits and _, no digit first",
      told_of_param({}, "a-b"))
    for _, name in ipairs { "has", "get", "input", "index", "foreach_stack", "merge_artifacts" } do
      assert.equal(("parameter '%s' has a reserved name (self has something of that name); choose another")
        :format(name), told_of_param({}, name))
    end
    for name in ("help store json max_workers max_num_splits tag run_id_file seed with quiet verbose keep_going "
      .. "dry_run raw"):gmatch("%S+") do
      assert.equal(("parameter '%s' has a reserved name (run has an option --%s); choose another")
        :format(name, (name:gsub("_", "-"))), told_of_param({}, name))
    end
    assert.equal("parameter 'no_x' is also how --no-x switches 'x' off; choose another name",
      told { steps = {}, params = { x = { default = true }, no_x = {} } })
  end)

  it("has a variable of the environment to itself", function()
    assert.equal("parameters 'Rate' and 'rate' would both be given by the environment variable LUAFLOW_PARAM_RATE; "
      .. "rename one", told { steps = {}, params = { rate = {}, Rate = {}, rates = {} } })
  end)
end)

describe("a report", function()
  it("goes by the lines of the file, each problem once", function()
    assert.equal("f.lua: b\nf.lua:2: c\nf.lua:10: a\nother.lua:1: d", flow.report({
      { where = "other.lua:1", sentence = "d" }, { where = "f.lua:10", sentence = "a" },
      { where = "f.lua:2", sentence = "c" }, { sentence = "b" }, { where = "f.lua:2", sentence = "c" },
    }, "f.lua"))
  end)

  it("names the line of the step's function", function()
    local function run(...) return ... end
    local _, problems = flow.normalise({ steps = { start = run } }, HERE, "x")
    assert.equal(("%s:%d"):format(HERE, line_of(run)), problems[1].where)
  end)
end)

describe("the nearest name", function()
  it("is the one that takes the fewest changes", function()
    assert.equal("next", nearest.name("nxet", { "doc", "env", "next" }))
    assert.equal("max_parallel", nearest.name("maxparallel", { "retry", "max_parallel" }))
    assert.equal("start", nearest.name("Start", { "start", "stats" }))
    assert.equal("integer", nearest.name("int", { "file", "integer", "string" }))
    assert.equal("a", nearest.name("z", { "b", "a" }))
    assert.is_nil(nearest.name("x", {}))
  end)

  it("is near when a letter in three is wrong, or the rest was left out", function()
    assert.equal("status", nearest.near("stauts", { "runs", "status" }))
    assert.equal("max-workers", nearest.near("max", { "max-workers" }))
    assert.equal("run", nearest.near("rn", { "run" }))
    assert.is_nil(nearest.near("z", { "a" }))
    assert.is_nil(nearest.near("frob", { "dump", "show" }))
    assert.is_nil(nearest.near("x", {}))
  end)
end)
