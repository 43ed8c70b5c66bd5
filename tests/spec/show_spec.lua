local json = require "luaflow.json"
local show = require "luaflow.show"

local function flow()
  return {
    name = "Demo", file = "flows/demo.lua", doc = "Shows all transitions.",
    params = {
      { name = "max_depth", type = "number", default = 3, required = false, help = "how deep" },
      { name = "level", type = "string", required = true, choices = { "low", "high" } },
    },
    steps = {
      { name = "start", doc = "Begins.", kind = "foreach", foreach = "titles", join = false, next = { "a" },
        retry = { times = 2, delay = 0, backoff = 1 } },
      { name = "a", kind = "linear", join = false, next = { "join" }, timeout = 30 },
      { name = "join", kind = "switch", switch = "size", join = true, next = { "b", "finish" },
        cases = { { key = "small", next = "b" }, { key = true, next = "finish" } } },
      { name = "b", kind = "linear", join = false, next = { "finish" } },
      { name = "finish", kind = "last", join = false, next = {} },
    },
  }
end

describe("a flow as text", function()
  it("has its steps in order with doc, transition and attributes", function()
    assert.equal([[
Flow Demo (flows/demo.lua)
    Shows all transitions.

Parameters
    --max-depth NUMBER  how deep (default: 3)
    --level STRING  (required; one of low, high)

Step start
    Begins.
    foreach titles => a
    retry = {"backoff":1,"delay":0,"times":2}

Step a
    => join
    timeout = 30

Step join (join)
    switch size: small => b, true => finish

Step b
    => finish

Step finish
    => (the last step)
]], show.text(flow()))
  end)
end)

describe("a line of that text", function()
  it("stays one, whatever a value holds", function()
    local about = flow()
    about.steps[3].cases[1].key = "a\nb"
    about.params[1].default, about.params[1].help = "\27\n", "one\ntwo"
    local text = show.text(about)
    assert.truthy(text:find([[    switch size: "a\nb" => b, true => finish]] .. "\n", 1, true))
    assert.truthy(text:find("    --max-depth NUMBER  one\n        two (default: \"\\u001b\\n\")\n", 1, true))
  end)
end)

describe("a flow for Graphviz", function()
  it("has a node for every step and an edge for every transition", function()
    assert.equal([[
digraph "Demo" {
  rankdir=LR;
  node [shape=box, style=rounded];
  "start";
  "a";
  "join" [shape=diamond, style=solid];
  "b";
  "finish";
  "start" -> "a" [label="foreach titles"];
  "a" -> "join";
  "join" -> "b" [label="small"];
  "join" -> "finish" [label="true"];
  "b" -> "finish";
}
]], show.dot(flow()))
  end)

  it("quotes what a case may hold", function()
    local about = flow()
    about.steps[3].cases[1].key = 'a "b"\\\n'
    assert.truthy(show.dot(about):find([==[[label="a \"b\"\\\n"];]==], 1, true))
  end)
end)

describe("a flow as JSON", function()
  it("is its description", function()
    local document = json.decode(show.json(flow()))
    assert.equal("Demo", document.name)
    assert.equal(30, document.steps[2].timeout)
    assert.same({ "a" }, document.steps[1].next)
    assert.same({ { key = "small", next = "b" }, { key = true, next = "finish" } }, document.steps[3].cases)
    assert.equal("max_depth", document.params[1].name)
  end)
end)

describe("the help of a parameter", function()
  it("says what it is for and what it may be", function()
    assert.equal("how (default: a,b)", show.param_help { help = "how", type = "string", default = "a,b" })
    assert.equal("(default: computed)", show.param_help { type = "number", computed = true })
    assert.equal([[(a list, separated by ','; default: 1,2)]],
      show.param_help { type = "number", separator = ",", default = { 1, 2 } })
    assert.equal("", show.param_help { type = "string" })
  end)
end)
