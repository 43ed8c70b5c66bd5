#!/usr/bin/env luajit
-- Parameters: every type from every side, and what is wrong is told before a run is made.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, contains = support.test, support.equal, support.contains

local FLOW = [[
return {
  params = {
    text = { default = "t" }, number = { default = 3 }, whole = { default = 4, type = "integer" },
    flag = { default = false }, on = { default = true }, data = { type = "json" }, content = { type = "file" },
    list = { default = "1,2", type = "integer", separator = "," },
    words = { default = { "a", "b" }, separator = ":" },
    numbers = { default = { 0.5 }, separator = "," },
    level = { default = "low", choices = { "low", "high" } },
    two_words = { default = "x" },
    bare = {},
  },
  steps = { start = function(self)
    for _, name in ipairs { "text", "number", "whole", "flag", "on", "data", "content", "list", "words",
                            "numbers", "level", "two_words", "bare" } do
      self["got_" .. name] = self[name]
    end
  end },
}]]

--- What the flow sees of a parameter with these arguments.
local function seen(w, name, ...)
  w:write("params.lua", FLOW)
  w:run("params.lua", ...)
  return w:artifacts("last")["got_" .. name]
end

test("defaults give the types and the values", function(w)
  w:write("params.lua", FLOW)
  w:run("params.lua")
  equal(w:artifacts("last"), {
    got_text = "t", got_number = 3, got_whole = 4, got_flag = false, got_on = true,
    got_list = { 1, 2 }, got_words = { "a", "b" }, got_numbers = { 0.5 }, got_level = "low",
    got_two_words = "x",
  })
end)

for _, case in ipairs {
  { "text", "two words", "--text", "two words" },
  { "text", "", "--text=" },
  { "text", "--x=y", "--text=--x=y" },
  { "text", "a\nb", "--text", "a\nb" },
  { "number", -1.5, "--number=-1.5" },
  { "number", 1000, "--number", "1e3" },
  { "whole", 12, "--whole=12" },
  { "whole", -12, "--whole=-12" },
  { "flag", true, "--flag" },
  { "flag", true, "--flag=YES" },
  { "flag", true, "--flag=1" },
  { "on", false, "--no-on" },
  { "on", false, "--on=False" },
  { "on", false, "--on=no" },
  { "on", false, "--on=0" },
  { "data", { a = { 1, 2 }, b = "x" }, "--data", '{"a":[1,2],"b":"x"}' },
  { "data", 7, "--data", "7" },
  { "data", nil, "--data", "null" },
  { "list", { 5, 6, 7 }, "--list", "5,6,7" },
  { "list", { 5 }, "--list=5" },
  { "words", { "x", "y z" }, "--words", "x:y z" },
  { "numbers", { 1.5, 2 }, "--numbers", "1.5,2" },
  { "level", "high", "--level", "high" },
  { "two_words", "y", "--two-words", "y" },
  { "two_words", "y", "--two_words=y" },
  { "bare", "b", "--bare", "b" },
} do
  test(("%s reads as meant: %s"):format(case[1], table.concat(case, " ", 3)), function(w)
    equal(seen(w, case[1], unpack(case, 3)), case[2])
  end)
end

test("a file's content becomes the value, byte for byte, and stays with the run", function(w)
  w:write("data.bin", "\0\1\255 text\n")
  equal(seen(w, "content", "--content", "data.bin"), { ["$type"] = "bytes", base64 = "AAH/IHRleHQK" })
end)

test("the environment is used when the option is absent", function(w)
  equal(seen(w, "whole", { env = { LUAFLOW_PARAM_WHOLE = "9" } }), 9)
  equal(seen(w, "two_words", { env = { LUAFLOW_PARAM_TWO_WORDS = "env" } }), "env")
  equal(seen(w, "whole", "--whole", "8", { env = { LUAFLOW_PARAM_WHOLE = "9" } }), 8)
end)

--- Tests that the arguments are a usage error naming all pieces, before a run is made.
local function refuses(arguments, pieces, options)
  test("refuses " .. table.concat(arguments, " "), function(w)
    w:write("params.lua", FLOW)
    local words = { "params.lua", unpack(arguments) }
    words[#words + 1] = options or {}
    local result = w:expect(2, "run", unpack(words))
    contains(result.err, unpack(pieces))
    equal(w:json("runs").runs, {})
  end)
end

refuses({ "--number", "abc" }, { "number", "abc" })
refuses({ "--number=" }, { "number" })
refuses({ "--whole", "1.5" }, { "whole", "integer", "1.5" })
refuses({ "--whole", "9007199254740993" }, { "whole", "integer", "9007199254740993" })
refuses({ "--whole=x" }, { "whole", "integer", "x" })
refuses({ "--flag=maybe" }, { "flag", "boolean", "maybe" })
refuses({ "--data", "{" }, { "data", "json", "{" })
refuses({ "--content", "nowhere.txt" }, { "content", "file", "nowhere.txt" })
refuses({ "--list", "1,two" }, { "list", "integer", "two" })
refuses({ "--level", "middle" }, { "level", "middle", "low", "high" })
refuses({ "--txt", "a" }, { "--txt", "--text" })
refuses({ "--whole" }, { "whole", "integer" })
refuses({ "--whole", "-5" }, { "whole" })
refuses({ "surplus" }, { "surplus" })
refuses({}, { "whole", "integer", "many" }, { env = { LUAFLOW_PARAM_WHOLE = "many" } })

test("a missing required parameter is a usage error", function(w)
  w:write("required.lua", [[
return { params = { must_have = { required = true, type = "number" } },
         steps = { start = function(self) print(self.must_have) end } }]])
  contains(w:expect(2, "run", "required.lua").err, "must-have", "number")
  equal(w:json("runs").runs, {})
  w:run("required.lua", "--must-have", "3")
  equal(w:logs("last"), "3\n")
end)

test("a computed default is called once, and only when it is needed", function(w)
  w:write("computed.lua", [[
return { params = { n = { type = "number", default = function()
    local file = io.open("calls", "a")
    file:write("x")
    file:close()
    return 7
  end } }, steps = {
  start = { next = "each", foreach = "n" },
  each = { next = "join", function(self) self.n_seen = self.n end },
  join = function(self, inputs) self.all = inputs:collect("n_seen") end,
} }]])
  w:run("computed.lua", "--max-workers", "4")
  equal(w:artifacts("last/join").all, { 7, 7, 7, 7, 7, 7, 7 })
  equal(w:read("calls"), "x")
end)

test("a computed default that fails is a usage error", function(w)
  w:write("computed.lua", [[
return { params = { n = { default = function() error "no weather today" end } },
         steps = { start = function() end } }]])
  contains(w:expect(2, "run", "computed.lua").err, "n", "no weather today")
  equal(w:json("runs").runs, {})
end)

test("a parameter without value and default reads as nil", function(w)
  w:write("absent.lua", [[
return { params = { a = {}, b = { type = "json" } }, steps = { start = function(self)
  assert(self.a == nil and self.b == nil and not self:has("a") and self:get("a", 5) == 5)
  assert(self:has("b") == false)
end } }]])
  w:run("absent.lua")
  w:run("absent.lua", "--b", "null")
end)

test("--help lists parameters with help and defaults", function(w)
  w:write("help.lua", [[
return { doc = "What it does.", params = {
  cutoff = { default = 0.25, help = "where to cut" },
  level = { default = "low", choices = { "low", "high" }, help = "how much" },
  must = { required = true, help = "what must be" },
}, steps = { start = function() end } }]])
  local result = w:expect(0, "run", "help.lua", "--help")
  contains(result.out, "--cutoff", "where to cut", "0.25", "--level", "how much", "low", "high",
    "--must", "what must be", "--max-workers", "--seed")
end)

test("every command has --help", function(w)
  for _, command in ipairs { "run", "check", "show", "runs", "status", "dump", "get", "logs", "tag", "version" } do
    contains(w:expect(0, command, "--help").out, command, "--store")
  end
  contains(w:expect(0, "--help").out, "run", "dump")
end)

support.done()
