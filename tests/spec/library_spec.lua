-- What editors are told of luaflow is what there is.

local hosted = require "hosted"
local luaflow = require "luaflow"

local path = assert(package.searchpath("luaflow", package.path)):gsub("luaflow/init%.lua$", "library/luaflow.lua")
local file = assert(io.open(path))
local text = file:read "*a"
file:close()

-- The sorted names of a table's keys.
local function names_in(...)
  local names, seen = {}, {}
  for _, t in ipairs { ... } do
    for name in pairs(t) do
      if not seen[name] and name:sub(1, 1) ~= "_" then names[#names + 1] = name end
      seen[name] = true
    end
  end
  table.sort(names)
  return names
end

-- The fields a class is said to have.
local function fields_of(class)
  local names, is_there = {}, false
  for head, block in text:gmatch("%-%-%-@class ([^\n]*)(.-\n)\n") do
    if head:gsub("^%(exact%) ", ""):match("^[%w.]+") == class then
      is_there = true
      for name in block:gmatch("%-%-%-@field (%w[%w_]*)") do names[name] = true end
    end
  end
  assert(is_there, class)
  return names
end

-- The functions that are said to be called as `name.f` or `name:f`.
local function functions_of(name)
  local names = {}
  for found in text:gmatch("\nfunction " .. name .. "[.:]([%w_]+)%(") do names[found] = true end
  return names
end

describe("the library for editors", function()
  lazy_setup(function()
    hosted.enter()
    luaflow.run(hosted.flow(hosted.QUICK))
  end)
  lazy_teardown(hosted.leave)

  it("is a Lua file", function() assert(loadfile(path)) end)

  it("has what the door has", function()
    assert.same(names_in(luaflow), names_in(functions_of "luaflow", { version = true }))
    assert.same({ "current", "version" }, names_in(fields_of "luaflow"))
  end)

  for class, found in pairs {
    Flow = function() return luaflow.Flow "Quick" end,
    Run = function() return luaflow.Run(1) end,
    Step = function() return luaflow.Step "Quick/1/start" end,
    Task = function() return luaflow.Task "Quick/1/start/1" end,
    Artifact = function() return luaflow.Artifact "Quick/1/start/1/said" end,
  } do
    it("has what a " .. class .. " has", function()
      local object = found()
      local about = getmetatable(object)
      assert.same(names_in(about.fields, object), names_in(fields_of("luaflow." .. class)))
      assert.same(names_in(about.methods), names_in(functions_of(class)))
    end)
  end

  it("has options that there are", function()
    local options = names_in(fields_of "luaflow.CommonOptions", fields_of "luaflow.RunOptions",
      fields_of "luaflow.ResumeOptions", fields_of "luaflow.StartOptions")
    assert.is_true(#options > 15)
    for _, name in ipairs(options) do
      local message = hosted.refusal(function() luaflow.start("flow.lua", { [name] = newproxy() }) end)
      assert.falsy(message:find("has no option", 1, true), message)
    end
  end)

  it("has a flow's keys", function()
    local step, parameter = names_in(fields_of "luaflow.StepTable"), names_in(fields_of "luaflow.Parameter")
    local function problems_of(source)
      return select(2, luaflow.check(hosted.flow("local no = newproxy() return " .. source)))
    end
    assert.is_true(#step > 10 and #parameter == 6)
    for _, name in ipairs(step) do
      local problems = problems_of(("{ steps = { start = { %s = no } } }"):format(name))
      assert.truthy(problems:find(name, 1, true), problems)
      assert.falsy(problems:find("unknown key", 1, true), problems)
    end
    for _, name in ipairs(parameter) do
      local problems = problems_of(("{ params = { p = { %s = no } }, steps = { start = { next = 1 } } }"):format(name))
      assert.falsy(problems:find("unknown key", 1, true), problems)
    end
  end)
end)
