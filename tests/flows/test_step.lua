#!/usr/bin/env luajit
-- One step alone, on the stored inputs of an earlier run.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal = support.test, support.equal
local contains, lacks, matches = support.contains, support.lacks, support.matches

local FLOW = [[
return { name = "F", params = { by = { default = 10 } }, steps = {
  start = { next = "each", foreach = "list", function(self) self.list = { "a", "b", "c" }; self.x = 1 end },
  each = { next = "join", function(self)
    print("each " .. self.index)
    self.name = self.input .. self.by
    self.x = nil
  end },
  join = { next = { many = "finish", few = "finish" }, switch = "size", function(self, inputs)
    self.names = inputs:collect "name"
    self.size = #inputs > 2 and "many" or "few"
  end },
  finish = function(self) print(#self.names) end,
} }]]

local function tries(w, step, from, expected)
  local document = support.decode(w:expect(0, "step", "f.lua", step, "--from", from, "--json").out)
  equal(document, { tasks = { expected } })
end

test("a step runs alone as it ran in the run", function(w)
  w:write("f.lua", FLOW)
  w:run("f.lua", "--by", "20")
  for _, pathspec in ipairs { "last/start/1", "last/each/2", "last/each/4", "last/join/5", "last/finish/6" } do
    tries(w, pathspec:match("/(%w+)/"), pathspec, w:tasks(pathspec)[1])
  end
  equal(w:json("runs").runs[1].tasks.done, 6, "nothing was stored")
  equal(#w:json("runs").runs, 1)
  equal(w:logs("last/each/2"), "each 1\n")
end)

test("of a run, the inputs are those of the step's first task", function(w)
  w:write("f.lua", FLOW)
  w:run("f.lua")
  local result = w:expect(0, "step", "f.lua", "each", "--from", "last")
  matches(result.out, "^%S+ %S+ %[1/each/2[^%]]*%] each 1\nF/1/each/2  each%[1%]  done\n"
    .. '    list = %["a","b","c"%]\n    name = "a10"\n$')
  matches(w:expect(0, "step", "f.lua", "each", "--from", "F/1/each/4", "--json").err, "%] each 3\n$")
  contains(w:expect(0, "step", "f.lua", "start", "--from", "1").out, "\nIt would start 3 tasks.\n")
  contains(w:expect(0, "step", "f.lua", "join", "--from", "1").out, "\nIt would go on with step finish.\n")
end)

test("a step that failed is run until it is right, in the file as it is now", function(w)
  w:write("f.lua", (FLOW:gsub('self.input .. self.by', 'self.input .. nil')))
  w:expect(1, "run", "f.lua")
  local out = w:expect(1, "step", "f.lua", "each", "--from", "last").out
  contains(out, "] Task failed.\n", "] f.lua:5: attempt to concatenate a nil value\n",
    '] Path each[1], index 1, input "a"\n', "] > 5 |     self.name", "]   4 |     print(", "\tf.lua:5:",
    "  each[1]  failed\n")
  lacks(out, "luaflow logs", "Resume with")
  local task = support.decode(w:expect(1, "step", "f.lua", "each", "--from", "last", "--json").out).tasks[1]
  contains(task.traceback, "\tf.lua:5:")
  task.traceback = nil
  equal(task, { pathspec = "F/1/each/2", path = "each[1]", status = "failed", artifacts = {},
    message = "f.lua:5: attempt to concatenate a nil value" })
  w:write("f.lua", FLOW)
  contains(w:expect(0, "step", "f.lua", "each", "--from", "last").out, '    name = "a10"\n')
  equal(w:json("runs").runs[1].status, "failed")
  w:expect(0, "resume", "f.lua")
end)

test("a step of a resumed run finds what was reused", function(w)
  w:write("f.lua", (FLOW:gsub("print%(#self.names%)", "error(#self.names)")))
  w:expect(1, "run", "f.lua")
  w:write("f.lua", FLOW)
  w:expect(0, "resume", "f.lua")
  for _, pathspec in ipairs { "2/each/3", "2/join/5", "2/finish/6" } do
    local task = w:json("dump", pathspec).tasks[1]
    tries(w, task.path:match("^%w+"), pathspec, task)
  end
end)

test("an element that is too large to be shown is still named", function(w)
  w:write("f.lua", (FLOW:gsub('"c"', '("c"):rep(5000)')))
  w:run("f.lua")
  w:write("f.lua", (FLOW:gsub('self.input .. self.by', 'self.input .. nil')))
  contains(w:expect(1, "step", "f.lua", "each", "--from", "F/1/each/4").out,
    "] Path each[3], index 3, input too large to be shown here\n")
end)

test("what is not there is refused", function(w)
  w:write("f.lua", FLOW)
  w:write("g.lua", "return { steps = { start = {} } }")
  contains(w:expect(2, "step", "f.lua", "each", "--from", "last").err, "there is no store")
  w:run("f.lua")
  contains(w:expect(2, "step", "f.lua", "eahc", "--from", "last").err, "did you mean 'each'?")
  contains(w:expect(2, "step", "f.lua", "each", "--from", "7").err, "run 7 is not in this store")
  contains(w:expect(2, "step", "f.lua", "each", "--from", "1/join/5").err, "is about step join, not each")
  contains(w:expect(2, "step", "f.lua", "each", "--from", "1/each/5").err, "run 1 has no task 5 of step each")
  contains(w:expect(2, "step", "g.lua", "start", "--from", "1").err, "run 1 is of flow F, not of g")
  contains(w:expect(2, "step", "f.lua", "each").err, "--from")
end)

support.done()
