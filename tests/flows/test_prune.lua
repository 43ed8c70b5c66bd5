#!/usr/bin/env luajit
-- Old runs go, and what nobody needs any more; nothing else does.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check = support.test, support.equal, support.check
local contains = support.contains

-- Values of a thousand bytes that no other run has; `broken` fails where there is no file "fixed",
-- and the first step waits while there is one called "hold".
local FLOW = [[
local function is(name) local f = io.open(name); if f then f:close() end; return f ~= nil end
return { name = "NAME", params = { kind = { default = 1 } }, steps = {
  start = { next = "work", foreach = "n", function(self)
    self.n = 3
    self.own = ("start %d "):format(self.kind):rep(200)
    self.same = ("same "):rep(300)
  end },
  work = { next = "hold", function(self)
    print("work of " .. self.kind)
    self.x = ("x %d %d "):format(self.kind, self.index):rep(200)
  end },
  hold = { next = "join", function(self)
    while is "hold" do os.execute "sleep 0.02" end
    self.late = ("late %d %d "):format(self.kind, self.index):rep(200)
  end },
  join = { next = "broken", function(self, inputs)
    self:merge_artifacts(inputs, { include = { "own", "same" } })
    self.xs = inputs:collect "x"
  end },
  broken = { next = "finish", function(self) if not is "fixed" then error "broken" end end },
  finish = function(self) self.last = #self.own end,
} }]]

local function flow(w, name)
  w:write(name:lower() .. ".lua", (FLOW:gsub("NAME", name)))
  return name:lower() .. ".lua"
end

local function ids(w)
  local list = {}
  for i, run in ipairs(w:json("runs").runs) do list[i] = run.id end
  return table.concat(list, " ")
end

local function all_is_well(w) contains(w:expect(0, "verify").out, "all is well") end

local function everything(w, run) return w:expect(0, "dump", run, "--json").out .. w:logs(run) end

test("the newest of each flow stay, and ids are never used again", function(w)
  w:write("fixed", "")
  local a, b = flow(w, "A"), flow(w, "B")
  for i = 1, 3 do w:run(a, "--quiet", "--kind=" .. i) end
  w:run(b, "--quiet")
  local before = everything(w, "3")
  local freed = w:json("prune", "--keep", "1")
  equal({ freed.runs, freed.tasks, freed.dry_run }, { 2, 20, false })
  check(freed.bytes > 10000 and freed.blobs > 5)
  equal(ids(w), "4 3")
  equal(everything(w, "3"), before)
  all_is_well(w)
  equal(w:json("prune", "--keep", "0").runs, 2)
  equal(ids(w), "")
  all_is_well(w)
  w:run(b, "--quiet")
  equal(ids(w), "5")
end)

test("what a remaining run reuses stays, logs included, until that goes too", function(w)
  local a = flow(w, "A")
  w:expect(1, "run", a, "--quiet")
  w:write("fixed", "")
  w:expect(0, "resume", a, "--quiet")
  w:run(a, "--quiet")
  local before, kept = everything(w, "2"), w:json("status", "2")
  w:expect(0, "tag", "add", "1", "old")
  w:expect(0, "prune", "--keep", "2")
  equal(ids(w), "3 2")
  equal(everything(w, "2"), before)
  equal(w:json("status", "2"), kept)
  equal(w:json("runs", "--tag", "old").runs, {})
  contains(w:expect(2, "dump", "1").err, "run 1 is not in this store")
  all_is_well(w)
  w:expect(0, "resume", a, "work", "--origin-run-id", "2", "--quiet")
  w:expect(0, "prune", "--keep", "1")
  equal(ids(w), "4")
  equal(w:json("status", "4").tasks.reused, 1)
  contains(w:expect(0, "dump", "4/start").out, "own")
  all_is_well(w)
  w:expect(0, "prune", "--keep", "0")
  equal(w:json("verify").bytes < 200, true, "all is gone")
end)

test("only what is older, only of one flow, or only in words", function(w)
  w:write("fixed", "")
  local a, b = flow(w, "A"), flow(w, "B")
  for _ = 1, 2 do w:run(a, "--quiet") end
  for _ = 1, 2 do w:run(b, "--quiet") end
  equal(w:json("prune", "--keep", "0", "--older-than", "1h").runs, 0)
  local before = w:json("verify")
  local would = w:json("prune", "--keep", "1", "--dry-run")
  equal({ would.runs, would.tasks, would.dry_run }, { 2, 20, true })
  contains(w:expect(0, "prune", "--keep", "1", "--dry-run").out, "would delete 2 runs: 20 tasks, ")
  equal(w:json("verify"), before)
  contains(w:expect(0, "prune", "--keep", "1", "--flow", "A").out, "deleted 1 run: 10 tasks, ")
  equal(ids(w), "4 3 2")
  equal(w:json("prune", "--keep", "0", "--older-than", "0s", "--flow", "B").runs, 2)
  equal(ids(w), "2")
  all_is_well(w)
end)

test("without a store there is nothing to do, and what is wrong is said", function(w)
  contains(w:expect(0, "prune", "--keep", "3").out, "deleted 0 runs")
  contains(w:expect(2, "prune").err, "--keep")
  contains(w:expect(2, "prune", "--keep", "few").err, "'few' is not a whole number")
  contains(w:expect(2, "prune", "--keep", "1", "--older-than", "soon").err, "'soon' is not an age like 30m, 12h or 7d")
end)

-- Starts a run, or a resumed one, that holds on in the middle.
local function hold(w, ...)
  w:write("hold", "")
  local process = w:spawn(...)
  support.wait_for("the run to be at work", function()
    return w:luaflow("logs", "last", { store = true }).out:find "work of" and w:json("runs").runs[1].status == "running"
  end)
  return process
end

test("a run that runs is not touched, and finds all it has stored", function(w)
  w:write("fixed", "")
  local a = flow(w, "A")
  w:run(a, "--quiet")
  local process = hold(w, "run", a, "--quiet") -- with the very values of the run before
  w:expect(0, "prune", "--keep", "0")
  w:expect(0, "prune", "--keep", "0")
  equal(ids(w), "2")
  os.remove(w.dir .. "/hold")
  equal(process:wait(), 0)
  all_is_well(w)
  equal(#w:tasks("2"), 10)
end)

test("what a running run is resumed from stays until it has ended", function(w)
  local a = flow(w, "A")
  w:expect(1, "run", a, "--quiet")
  w:write("fixed", "")
  w:write("hold", "")
  local process = w:spawn("resume", a, "hold", "--quiet")
  support.wait_for("the run to run", function() return #w:json("runs").runs == 2 end)
  w:expect(0, "prune", "--keep", "0")
  equal(ids(w), "2 1")
  os.remove(w.dir .. "/hold")
  equal(process:wait(), 0)
  w:expect(0, "prune", "--keep", "1")
  equal(ids(w), "2")
  all_is_well(w)
  contains(w:logs("2"), "work of 1\n")
end)

test("space is given back, unless somebody has the store open", function(w)
  w:write("fixed", "")
  local a = flow(w, "A")
  for i = 1, 8 do w:run(a, "--quiet", "--kind=" .. i) end
  local before = everything(w, "8")
  local process = hold(w, "run", a, "--quiet")
  contains(w:expect(3, "prune", "--keep", "1", "--compact").err, "while another process has it open")
  os.remove(w.dir .. "/hold")
  equal(process:wait(), 0)
  local sizes = w:json("prune", "--keep", "2", "--compact").compacted
  check(sizes.after < sizes.before / 2, "it has shrunk")
  all_is_well(w)
  equal(everything(w, "8"), before)
  w:run(a, "--quiet")
  equal(ids(w), "10 9 8")
  all_is_well(w)
  equal(w:shell "ls -A .luaflow | sort | tr '\\n' ' '", "data.mdb lock.mdb owners ")
end)

support.done()
