#!/usr/bin/env luajit
-- Going on with a run that failed, was killed, or was not to one's liking.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check = support.test, support.equal, support.check
local contains, lacks = support.contains, support.lacks

-- What the flows here begin with: ran("a") writes down that it did; is("fixed") tells
-- whether there is a file of that name.
local BEGIN = [[
local function ran(what) local f = assert(io.open("ran", "a")); f:write(what, "\n"); f:close() end
local function is(name) local f = io.open(name); if f then f:close() end; return f ~= nil end
]]

-- What ran since the last time this was asked, sorted.
local function ran(w)
  local list = {}
  for line in (w:read("ran") or ""):gmatch("[^\n]+") do list[#list + 1] = line end
  os.remove(w.dir .. "/ran")
  table.sort(list)
  return table.concat(list, " ")
end

-- The artifacts of a run's tasks by path.
local function results(w, run)
  local by_path = {}
  for _, task in ipairs(w:tasks(run)) do
    equal(task.status, "done", task.path)
    by_path[task.path] = task.artifacts
  end
  return by_path
end

local function events(w, ...)
  local list = {}
  for line in w:expect(0, ...).out:gmatch("[^\n]+") do list[#list + 1] = support.decode(line) end
  return list
end

-- Run 1 failed, the flow is mended, and run 2 goes on with it: what run 2 runs is
-- `expected`, and it leaves what a run leaves that never failed.
local function mends(w, flow, expected, ...)
  w:expect(1, "run", flow, "--seed", "7", "--max-workers", "1", ...)
  ran(w)
  w:write("fixed", "")
  local out = w:expect(0, "resume", flow).out
  equal(ran(w), expected)
  w:run(flow, "--seed", "7")
  equal(results(w, "2"), results(w, "3"))
  local run = w:json("status", "2")
  equal({ run.status, run.origin_run_id }, { "done", 1 })
  return out, run
end

local LINEAR = BEGIN .. [[
return { name = "Linear", params = { who = { default = "me" } }, steps = {
  start = { next = "a", function(self) ran "start"; self.x = 1; self.die = math.random(1e9); print "first" end },
  a = { next = "b", function(self) ran "a"; self.list = { self.x, self.x + 1 } end },
  b = { next = "finish", function(self)
    ran "b"
    print "second"
    if not is "fixed" then self.half = true; error "broken" end
    self.sum = self.list[1] + self.list[2]
    self.other_die = math.random(1e9)
  end },
  finish = function(self) ran "finish"; self.who_was_it = self.who end,
} }]]

-- ---- shapes ---------------------------------------------------------------------------------

test("a failed run goes on where it failed", function(w)
  w:write("linear.lua", LINEAR)
  local out, run = mends(w, "linear.lua", "b finish")
  contains(out, "Workflow starting (run-id 2)\n", "[2/start/", "] Task reused.\n",
    "Done! 4 tasks in ", "2 of them reused.")
  equal(run.tasks, { done = 4, failed = 0, reused = 2 })
  equal(run.steps[1], { name = "start", tasks = 1, done = 1, failed = 0, reused = 1 })
  equal(run.steps[3], { name = "b", tasks = 1, done = 1, failed = 0, reused = 0 })
  equal(run.failures, {})
  equal(w:json("runs").runs[2].origin_run_id, 1)
  equal(w:json("runs").runs[2].tasks.reused, 2)
  contains(w:expect(0, "status", "2").out, "Resumed from run 1\n")
  equal(w:json("status", "1").status, "failed")
end)

local EACH = BEGIN .. [[
return { name = "Each", params = { n = { default = 9 } }, steps = {
  start = { next = "each", foreach = "n", function() ran "start" end },
  each = { next = "join", function(self)
    ran(self.index)
    if self.index % 4 == 0 and not is "fixed" then error "a multiple of four" end
    self.v = self.input * 10
  end },
  join = { next = "finish", function(self, inputs) ran "join"; self.all = inputs:collect "v" end },
  finish = {},
} }]]

test("of a foreach only the elements that did not succeed run again", function(w)
  w:write("each.lua", EACH)
  local _, run = mends(w, "each.lua", "4 8 join", "--keep-going")
  equal(run.tasks, { done = 12, failed = 0, reused = 8 })
  equal(run.steps[2], { name = "each", tasks = 9, done = 9, failed = 0, reused = 7 })
end)

test("elements that never ran do so", function(w)
  w:write("each.lua", EACH)
  w:expect(1, "run", "each.lua", "--max-workers", "1")
  local done = 0
  for _, task in ipairs(w:tasks("last/each")) do done = done + (task.status == "done" and 1 or 0) end
  ran(w)
  w:write("fixed", "")
  w:expect(0, "resume", "each.lua")
  equal(#w:tasks("last/each"), 9)
  equal(w:json("status", "last").steps[2].reused, done)
  equal(select(2, ran(w):gsub("%d", "")), 9 - done)
  equal(w:artifacts("last/finish").all, { 10, 20, 30, 40, 50, 60, 70, 80, 90 })
end)

test("nested splits go on inside", function(w)
  w:write("nested.lua", BEGIN .. [[
return { steps = {
  start = { next = "outer", foreach = "rows", function(self)
    ran "start"
    self.rows = { { 1, 2 }, {}, { 3, 4, 5 } }
  end },
  outer = { next = "inner", foreach = "row", function(self) ran("outer" .. self.index); self.row = self.input end },
  inner = { next = { "left", "right" }, function(self) ran("inner" .. self.input) self.v = self.input end },
  left = { next = "both", function(self)
    ran("left" .. self.v)
    if self.v == 4 and not is "fixed" then error "four" end
    self.l = self.v * 2
  end },
  right = { next = "both", function(self) ran("right" .. self.v); self.r = self.v * 3 end },
  both = { next = "rowsum", function(self, inputs) ran("both" .. self.input); self:merge_artifacts(inputs) end },
  rowsum = { next = "all", function(self, inputs)
    ran("rowsum" .. self.index)
    self.sum = 0
    for i, l in ipairs(inputs:collect "l") do self.sum = self.sum + l * inputs[i].r end
  end },
  all = { next = "finish", function(self, inputs) ran "all"; self.sums = inputs:collect "sum" end },
  finish = {},
} }]])
  mends(w, "nested.lua", "all both4 left4 rowsum3", "--keep-going")
end)

local LOOP = BEGIN .. [[
return { steps = {
  start = { next = "turn", function(self) ran "start"; self.n = 0 end },
  turn = { next = { again = "turn", over = "finish" }, switch = "go", function(self)
    self.n = self.n + 1
    ran("turn" .. self.n)
    if self.n == 3 and not is "fixed" then error "third" end
    self.go = self.n < 5 and "again" or "over"
  end },
  finish = function(self) ran "finish" end,
} }]]

test("a loop goes on in the turn that failed", function(w)
  w:write("loop.lua", LOOP)
  mends(w, "loop.lua", "finish turn3 turn4 turn5")
end)

test("what a reused switch decided stays decided", function(w)
  w:write("switch.lua", BEGIN .. [[
return { steps = {
  start = { next = { small = "s", large = "l" }, switch = "size", function(self)
    self.size = is "fixed" and "large" or "small"
  end },
  s = { next = "finish", function(self) ran "s"; if not is "fixed" then error "no" end end },
  l = { next = "finish", function(self) ran "l" end },
  finish = function() ran "finish" end,
} }]])
  w:expect(1, "run", "switch.lua")
  ran(w)
  w:write("fixed", "")
  w:expect(0, "resume", "switch.lua")
  equal(ran(w), "finish s")
end)

test("a step that fails again fails the new run, which can be resumed too", function(w)
  w:write("twice.lua", BEGIN .. [[
return { name = "Twice", steps = {
  start = { next = "a", function(self) ran "start"; print "hello"; self.x = 1 end },
  a = { next = "b", function(self) ran "a"; if not is "one" then error "one" end; self.y = 2 end },
  b = { next = "finish", function(self) ran "b"; if not is "two" then error "two" end; self.z = self.x + self.y end },
  finish = function() ran "finish" end,
} }]])
  w:expect(1, "run", "twice.lua")
  local out = w:expect(1, "resume", "twice.lua").out
  contains(out, "Run 2 failed: 1 task failed, 2 steps never ran", "    luaflow resume twice.lua --origin-run-id 2\n")
  w:write("one", "")
  w:expect(1, "resume", "twice.lua", "--origin-run-id", "2")
  w:write("two", "")
  ran(w)
  w:expect(0, "resume", "twice.lua", "--origin-run-id", "3")
  equal(ran(w), "b finish")
  equal(w:artifacts("4/finish"), { x = 1, y = 2, z = 3 })
  equal(w:logs("4/start"), "hello\n")
  local run = w:json("status", "4")
  equal({ run.origin_run_id, run.tasks.done, run.tasks.reused }, { 3, 4, 2 })
  equal(run.failures, {})
  equal(#w:json("status", "3").failures, 1)
end)

test("a resumed run that ends early has all that its origin had", function(w)
  w:write("early.lua", BEGIN .. [[
return { steps = {
  start = { next = "a", foreach = "n", function(self) self.n = 300 end },
  a = { next = "join", function(self)
    ran(("a%d"):format(self.input))
    if self.input == 1 and not is "fixed" then error "no" end
    self.y = self.input
  end },
  join = { next = "finish", function(self, inputs) self.n = #inputs:collect("y") end },
  finish = function() end,
} }]])
  w:expect(1, "run", "early.lua", "--keep-going", "--max-workers", "1")
  ran(w)
  for run = 2, 3 do
    w:expect(1, "resume", "early.lua", "--max-workers", "1")
    equal(ran(w), "a1")
    equal(w:json("status", tostring(run)).tasks, { done = 300, failed = 1, reused = 300 })
  end
  w:write("fixed", "")
  w:expect(0, "resume", "early.lua")
  equal(ran(w), "a1")
end)

test("a run that succeeded is taken over whole", function(w)
  w:write("linear.lua", LINEAR)
  w:write("fixed", "")
  w:run("linear.lua")
  ran(w)
  contains(w:expect(0, "resume", "linear.lua").out, "Done! 4 tasks in ", "4 of them reused.")
  equal(ran(w), "")
  equal(results(w, "2"), results(w, "1"))
  equal(w:json("runs").runs[1].tasks, { done = 4, failed = 0, reused = 4 })
end)

test("a run whose process was killed goes on", function(w)
  w:write("killed.lua", BEGIN .. [[
return { steps = {
  start = { next = "a", function(self) ran "start"; self.x = 1 end },
  a = { next = "finish", function(self)
    ran "a"
    if not is "fixed" then os.execute "sleep 0.3; kill -9 $PPID" end
    self.y = self.x + 1
  end },
  finish = function(self) ran "finish" end,
} }]])
  equal(w:luaflow("run", "killed.lua").code, 137)
  equal(w:json("runs").runs[1].status, "interrupted")
  ran(w)
  w:write("fixed", "")
  w:expect(0, "resume", "killed.lua")
  equal(ran(w), "a finish")
  equal(w:artifacts("2/finish"), { x = 1, y = 2 })
end)

test("an interrupted run goes on", function(w)
  w:write("nap.lua", BEGIN .. [[
local ffi = require "ffi"
ffi.cdef "int usleep(unsigned);"
return { steps = {
  start = { next = "nap", function() ran "start" end },
  nap = { next = "finish", function() print "napping"; for _ = 1, 50 do ffi.C.usleep(10000) end; ran "nap" end },
  finish = function() ran "finish" end,
} }]])
  local process = w:spawn("run", "nap.lua")
  support.wait_for("the nap", function() return process:out():find("napping", 1, true) end)
  process:kill("INT")
  equal(process:wait(10), 130)
  equal(ran(w), "nap start")
  w:expect(0, "resume", "nap.lua")
  equal(ran(w), "finish")
end)

test("what was caught is a success, and stays one", function(w)
  w:write("caught.lua", BEGIN .. [[
return { steps = {
  start = { next = "risky", foreach = "n" },
  risky = { next = "join", catch = "failure", function(self)
    ran("risky" .. self.index)
    if self.index == 2 then error "two" end
  end },
  join = { next = "finish", function(self, inputs)
    ran "join"
    if not is "fixed" then error "join" end
    self.failed = inputs[2].failure.message
  end },
  finish = {},
}, params = { n = { default = 3 } } }]])
  mends(w, "caught.lua", "join")
  contains(w:artifacts("2/finish").failed, ": two")
end)

test("attributes are those of now, given by --with too", function(w)
  w:write("linear.lua", LINEAR)
  w:expect(1, "run", "linear.lua")
  ran(w)
  w:expect(1, "resume", "linear.lua", "--with", "retry=2")
  equal(ran(w), "b b b")
end)

test("a wide foreach is taken over by a run of a run of a run", function(w)
  w:write("each.lua", EACH)
  w:expect(1, "run", "each.lua", "--n", "2000", "--keep-going")
  for id = 1, 3 do w:expect(1, "resume", "each.lua", "--origin-run-id", tostring(id), "--keep-going") end
  w:write("fixed", "")
  ran(w)
  w:expect(0, "resume", "each.lua")
  check(not ran(w):find("%f[%d]1001%f[%D]"), "what succeeded once does not run again")
  equal(w:json("status", "last").steps[2], { name = "each", tasks = 2000, done = 2000, failed = 0, reused = 1500 })
  local all = w:artifacts("last/finish").all
  for i = 1, 2000 do equal(all[i], i * 10) end
end)

-- ---- from a step on -------------------------------------------------------------------------

local BRANCH = BEGIN .. [[
return { steps = {
  start = { next = { "left", "right" }, function(self) ran "start"; self.n = is "fixed" and 2 or 1 end },
  left = { next = "more", function(self) ran "left"; self.l = is "fixed" and 20 or 10 end },
  more = { next = "join", function(self) ran "more" end },
  right = { next = "join", function(self) ran "right"; self.r = is "fixed" and 200 or 100 end },
  join = { next = "finish", function(self, inputs) ran "join"; self:merge_artifacts(inputs) end },
  finish = function() ran "finish" end,
} }]]

test("with a step, that step and all after it run again", function(w)
  w:write("branch.lua", BRANCH)
  w:run("branch.lua")
  ran(w)
  w:write("fixed", "")
  w:expect(0, "resume", "branch.lua", "left")
  equal(ran(w), "finish join left more")
  equal(w:artifacts("2/finish"), { l = 20, n = 1, r = 100 })
  w:expect(0, "resume", "branch.lua", "join", "--origin-run-id", "1")
  equal(ran(w), "finish join")
  equal(w:artifacts("3/finish"), { l = 10, n = 1, r = 100 })
  w:expect(0, "resume", "branch.lua", "start")
  equal(ran(w), "finish join left more right start")
  equal(w:artifacts("4/finish"), { l = 20, n = 2, r = 200 })
end)

test("with a step of a loop, it runs again from its first turn on", function(w)
  w:write("loop.lua", LOOP)
  w:write("fixed", "")
  w:run("loop.lua")
  ran(w)
  w:expect(0, "resume", "loop.lua", "turn")
  equal(ran(w), "finish turn1 turn2 turn3 turn4 turn5")
end)

test("with the step of a foreach, all its elements run again", function(w)
  w:write("each.lua", EACH)
  w:write("fixed", "")
  w:run("each.lua", "--n", "3")
  ran(w)
  w:expect(0, "resume", "each.lua", "each")
  equal(ran(w), "1 2 3 join")
end)

test("a step that is not there is named with the nearest, and no run made", function(w)
  w:write("branch.lua", BRANCH)
  w:run("branch.lua")
  contains(w:expect(2, "resume", "branch.lua", "lef").err, "step 'lef'", "did you mean 'left'?")
  equal(#w:json("runs").runs, 1)
end)

-- ---- what stays as it was -------------------------------------------------------------------

test("parameters are those of the origin, files and all", function(w)
  w:write("params.lua", BEGIN .. [[
return { params = {
  who = { default = "me" }, letter = { type = "file" }, list = { default = { 1, 2 }, separator = "," },
  made = { default = function() ran "default"; return is "fixed" and "late" or "early" end },
}, steps = {
  start = { next = "a" },
  a = { next = "finish", function(self) if not is "fixed" then error "no" end end },
  finish = function(self) self.all = { self.who, self.letter, self.list, self.made } end,
} }]])
  w:write("letter.txt", "dear \0 me")
  w:expect(1, "run", "params.lua", "--who", "you", "--letter", "letter.txt", "--list", "4,5")
  ran(w)
  w:write("fixed", "")
  w:shell("rm letter.txt")
  for _, option in ipairs { "--who=me", "--letter=letter.txt", "--seed=3" } do
    contains(w:expect(2, "resume", "params.lua", option).err, option:match("^[^=]+"), "cannot be changed")
  end
  equal(#w:json("runs").runs, 1)
  w:expect(0, "resume", "params.lua", { env = { LUAFLOW_PARAM_WHO = "nobody" } })
  equal(w:artifacts("last/finish").all, { "you", "dear \0 me", { 4, 5 }, "early" })
  equal(ran(w), "", "the default function is not called again")
end)

test("a parameter that the origin did not know has its default", function(w)
  local function flow(params)
    return BEGIN .. "return { name = 'New', params = { old = { default = 1 }, " .. params .. [[ }, steps = {
  start = { next = "finish" },
  finish = function(self) if not is "fixed" then error "broken" end self.both = { self.old, self.new } end,
} }]]
  end
  w:write("new.lua", flow "")
  w:expect(1, "run", "new.lua", "--old", "7")
  w:write("fixed", "")
  w:write("new.lua", flow "new = { required = true, type = 'number' }")
  contains(w:expect(2, "resume", "new.lua").err, "parameter 'new' is new and required")
  w:write("new.lua", flow "new = { default = function() return 5 end }")
  w:expect(0, "resume", "new.lua")
  equal(w:artifacts("2/finish"), { both = { 7, 5 } })
end)

test("with a step, what comes after it runs again whichever way the origin took", function(w)
  w:write("ways.lua", BEGIN .. [[
return { steps = {
  start = { next = { small = "sm", large = "lg" }, switch = "size", function(self)
    ran "start"
    self.size = "small"
  end },
  sm = { next = "many", function() ran "sm" end },
  lg = { next = "many", function() ran "lg" end },
  many = { next = "each", foreach = "list", function(self) ran "many"; self.list = {} end },
  each = { next = "join", function() ran "each" end },
  join = { next = "finish", function(self, inputs) ran "join" end },
  finish = function() ran "finish" end,
} }]])
  w:run("ways.lua")
  ran(w)
  w:expect(0, "resume", "ways.lua", "lg")
  equal(ran(w), "finish join many")
  w:expect(0, "resume", "ways.lua", "each")
  equal(ran(w), "finish join")
end)

test("tags are the new run's own, and run's options hold", function(w)
  w:write("linear.lua", LINEAR)
  w:expect(1, "run", "linear.lua", "--tag", "old")
  w:write("fixed", "")
  w:expect(0, "resume", "linear.lua", "--tag", "new", "--run-id-file", "id", "--max-workers", "1", "--quiet")
  equal(w:read("id"), "2\n")
  equal(w:json("runs").runs[1].tags, { "new" })
  equal(w:expect(0, "resume", "linear.lua", "--quiet").out, "")
end)

test("reused tasks keep their logs and the times of their lines", function(w)
  w:write("linear.lua", LINEAR)
  w:expect(1, "run", "linear.lua")
  w:write("fixed", "")
  w:expect(0, "resume", "linear.lua")
  equal(w:logs("2"), "first\nsecond\n")
  equal(w:logs("2/start", "--timestamps"), w:logs("1/start", "--timestamps"))
  equal(w:artifacts("2/start"), w:artifacts("1/start"))
  equal(w:expect(0, "get", "2/a/list").out, "[1,2]\n")
end)

test("the flow file is the one of now", function(w)
  w:write("linear.lua", LINEAR)
  w:expect(1, "run", "linear.lua")
  ran(w)
  w:write("linear.lua", (LINEAR:gsub('error "broken"', 'self.mended = true')))
  w:expect(0, "resume", "linear.lua")
  equal(ran(w), "b finish")
  equal(w:artifacts("2/b").mended, true)
end)

test("steps that never ran may change, others may not", function(w)
  w:write("linear.lua", LINEAR)
  w:expect(1, "run", "linear.lua")
  ran(w)
  w:write("linear.lua", (LINEAR:gsub('start = { next = "a"', 'start = { next = "b"'):gsub("\n  a = [^\n]*", "")))
  w:expect(0, "check", "linear.lua")
  local problem = w:expect(2, "resume", "linear.lua").err
  contains(problem, "start")
  equal(#w:json("runs").runs, 1)
  equal(ran(w), "")
  w:write("fixed", "")
  w:write("linear.lua", (LINEAR:gsub("finish", "the_end")))
  w:expect(0, "resume", "linear.lua")
  equal(ran(w), "b the_end")
end)

-- ---- what cannot be resumed -----------------------------------------------------------------

test("a run that is not there, is another flow's or still runs is refused", function(w)
  w:write("linear.lua", LINEAR)
  w:write("other.lua", "return { name = 'Other', steps = { start = function() end } }")
  w:write("nap.lua", [[return { name = "Nap", steps = { start = function() print "nap"; os.execute "sleep 20" end } }]])
  contains(w:expect(2, "resume", "linear.lua").err, "there is no store at")
  check(w:read(".luaflow/data.mdb") == nil, "no store was made")
  w:run("other.lua")
  contains(w:expect(2, "resume", "linear.lua").err, "Linear")
  contains(w:expect(2, "resume", "linear.lua", "--origin-run-id", "1").err, "Other")
  contains(w:expect(2, "resume", "linear.lua", "--origin-run-id", "77").err, "77")
  local process = w:spawn("run", "nap.lua")
  support.wait_for("the nap", function() return process:out():find("] nap\n", 1, true) end)
  contains(w:expect(2, "resume", "nap.lua").err, "running")
  process:kill("KILL")
  process:wait(10)
  equal(#w:json("runs").runs, 2)
end)

-- ---- what is told ---------------------------------------------------------------------------

test("--explain says of every task why it was reused or run", function(w)
  w:write("each.lua", EACH)
  w:expect(1, "run", "each.lua", "--n", "60", "--keep-going")
  w:write("fixed", "")
  local explained = {}
  for step, what, why in w:expect(0, "resume", "each.lua", "--explain").out
    :gmatch("%[2/(%w+)/%d+[^%]]*%] Task ([%w ]+): ([^\n]+)%.\n") do
    explained[step .. " " .. what] = (explained[step .. " " .. what] or 0) + 1
    check(#why > 5, "a reason")
  end
  equal(explained, { ["start reused"] = 1, ["each reused"] = 45, ["each is starting"] = 15,
    ["join is starting"] = 1, ["finish is starting"] = 1 })
end)

test("events tell what was reused and why", function(w)
  w:write("linear.lua", LINEAR)
  w:expect(1, "run", "linear.lua")
  w:write("fixed", "")
  local by_event, reasons = {}, 0
  for _, event in ipairs(events(w, "resume", "linear.lua", "--json")) do
    by_event[event.event] = (by_event[event.event] or "") .. (event.path or "") .. " "
    if event.reason then
      reasons = reasons + 1
      check(event.event == "task_reused" or event.event == "task_started", event.event)
    end
    equal(event.run, 2)
  end
  equal(by_event, { run_started = " ", task_reused = "start a ", task_started = "b finish ", line = "b ",
    task_finished = "b finish ", run_finished = " " })
  equal(reasons, 4)
end)

test("above 50 tasks of a step one line tells how many were reused", function(w)
  w:write("each.lua", EACH)
  w:expect(1, "run", "each.lua", "--n", "400", "--keep-going")
  w:write("fixed", "")
  local out = w:expect(0, "resume", "each.lua").out
  check(select(2, out:gsub("%] Task reused%.\n", "")) <= 52, "not every task has its line")
  contains(out, "Step each: 400 done (300 reused), 0 running, 0 failed.")
  contains(out, "Done! 403 tasks in ", "301 of them reused.")
end)

test("--dry-run only says what would be reused", function(w)
  w:write("linear.lua", LINEAR)
  w:expect(1, "run", "linear.lua", "--who", "you")
  ran(w)
  equal(w:expect(0, "resume", "linear.lua", "--dry-run").out, [[
Would resume run 1 of flow Linear (linear.lua).
Parameters:
    who = "you"
Steps:
    start (1 task reused)
    a (1 task reused)
    b
    finish
]])
  lacks(w:expect(0, "resume", "linear.lua", "--dry-run", "a").out, "a (1 task reused)")
  equal(ran(w), "")
  equal(#w:json("runs").runs, 1)
end)

support.done()
