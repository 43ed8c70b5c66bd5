package.loaded["luaflow.native"] = { register = function() end }
local complete = require "luaflow.complete"

local Class = { area = function() end, _hidden = function() end }
Class.__index = Class

-- An object as luaflow's client makes them.
local Run = { fields = { status = true, data = true }, methods = { step = function() end, steps = function() end } }
local Data = { names = function() return { "titles", "a b", "title" } end }
local data = setmetatable({}, Data)
function Run.__index(_, key)
  if key == "data" then return data end
  error("a field that was not asked for was read: " .. key)
end

local globals = {
  string = string,
  print = print,
  _secret = 1,
  ["not a name"] = 1,
  flow = { steps = { { name = "a" }, start = { next = 1, ["x y"] = { deep = 1 } } }, call = print },
  shape = setmetatable({ width = 1 }, Class),
  run = setmetatable({}, Run),
  text = "text",
  trap = setmetatable({}, { __index = function() error "called" end }),
}

local directories = {
  ["./"] = { "./", "../", ".hidden", "flows/", "first.lua" },
  ["flows/"] = { "titles.lua", "titles.txt", "other.lua" },
}
local function list_directory(path) return directories[path] end

local function candidates(text)
  return table.concat(complete.candidates(text, globals, list_directory), " ")
end

describe("names", function()
  it("are globals and keywords", function()
    assert.equal("false flow for function", candidates "f")
    assert.equal("print", candidates "x = pr")
    assert.equal("flow print run shape string text trap", candidates "")
    assert.equal("_secret", candidates "_")
    assert.equal("print", candidates "x..pr")
    assert.equal("print", candidates "f(pr")
    assert.equal("", candidates "12e")
  end)

  it("are the fields of tables", function()
    assert.equal("call steps", candidates "flow.")
    assert.equal("start", candidates "x = flow.steps.st")
    assert.equal("name", candidates "flow.steps[1].")
    assert.equal("deep", candidates "flow['steps'].start[\"x y\"].")
    assert.equal("", candidates "flow.steps[2].")
    assert.equal("", candidates "nothing.at.all")
    assert.equal("rep reverse", candidates "string.re")
  end)

  it("are methods behind a colon", function()
    assert.equal("call", candidates "flow:")
    assert.equal("area", candidates "shape:")
    assert.equal("area width", candidates "shape.")
    assert.equal("_hidden", candidates "shape:_")
    assert.equal("rep reverse", candidates "text:re")
    assert.equal("rep reverse", candidates "('x'):re")
  end)

  it("are what luaflow's objects say they have", function()
    assert.equal("data status step steps", candidates "run.")
    assert.equal("step steps", candidates "run:st")
    assert.equal("title titles", candidates "run.data.")
  end)

  it("are not found by calling anything", function()
    assert.equal("", candidates "trap.x.")
    assert.equal("", candidates "flow.call().")
    assert.equal("", candidates "run:steps()[1].")
  end)

  it("are not what stands in a comment or in a long string", function()
    assert.equal("", candidates "x = 1 -- pr")
    assert.equal("", candidates "x = [[pr")
    assert.equal("print", candidates "x = [[a]] .. pr")
    assert.equal("print", candidates [[x = "--" .. 'it\'s' .. pr]])
  end)
end)

describe("a string", function()
  it("is a path", function()
    assert.equal("first.lua flows/", candidates [[luaflow.run("f]])
    assert.equal("titles.lua titles.txt", candidates [[luaflow.run('flows/ti]])
    assert.equal("first.lua flows/", candidates [[f "]])
    assert.equal(".hidden", candidates [[f ".]])
    assert.equal("", candidates [[f "gone/x]])
  end)
end)

describe("Tab", function()
  local function tab(text)
    local insert, show = complete.tab(text, { globals = globals, list_directory = list_directory, width = 20 })
    return { insert, show }
  end

  it("indents where nothing stands", function()
    assert.same({ "  " }, tab "")
    assert.same({ "  " }, tab "  ")
  end)

  it("inserts what is sure", function()
    assert.same({ "int" }, tab "pr")
    assert.same({ "ow" }, tab "fl")
    assert.same({ "e" }, tab "flow.steps[1].nam")
    assert.same({ "le" }, tab "run.data.tit")
    assert.same({ "st.lua\"" }, tab [[luaflow.run("fir]])
    assert.same({ "'" }, tab "f 'first.lua")
    assert.same({ "ows/" }, tab [[luaflow.run("fl]])
    assert.same({}, tab "print")
    assert.same({}, tab "zzz")
  end)

  it("shows what there is to choose from", function()
    assert.same({ nil, "false     for\nflow      function\n" }, tab "f")
    assert.same({ nil, "step   steps\n" }, tab "run:step")
  end)

  it("shows the beginning of a long list", function()
    local many = {}
    for i = 1, 250 do many[i] = ("name%03d"):format(i) end
    local text = complete.columns(many, 80)
    assert.truthy(text:find("name200\n", 1, true))
    assert.truthy(text:find("\n… 50 more\n$"))
    assert.falsy(text:find("name201", 1, true))
    for line in text:gmatch("[^\n]+") do assert.truthy(#line <= 80) end
  end)
end)
