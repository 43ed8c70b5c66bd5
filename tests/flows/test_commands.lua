#!/usr/bin/env luajit
-- The commands: what they print, as text and as JSON, and which store they look at.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check = support.test, support.equal, support.check
local contains, lacks, matches = support.contains, support.lacks, support.matches

local TITLES = [[
return { name = "ForeachFlow", doc = "Processes titles.", params = { suffix = { default = "seen" } }, steps = {
  start = { next = "a", foreach = "titles", doc = "Lists them.", function(self)
    self.titles = { "x", "y", "z" }
    print "starting"
  end },
  a = { next = "join", function(self)
    self.title = self.input .. " " .. self.suffix
    print(self.title)
    io.stderr:write("warning " .. self.index .. "\n")
  end },
  join = { next = "finish", function(self, inputs) self.results = inputs:collect("title") end },
  finish = {},
} }]]

local FAILING = [[
return { name = "Failing", steps = {
  start = { next = { "bad", "good" }, function(self) self.x = 1 end },
  bad = { next = "join", function(self) error("it broke") end },
  good = { next = "better", function(self) self.y = 2 end },
  better = { next = "join" },
  join = { next = "finish", function(self, inputs) end },
  finish = {},
} }]]

local function with_titles(w, ...)
  w:write("titles.lua", TITLES)
  return w:run("titles.lua", ...)
end

-- ---- run ----------------------------------------------------------------------------------

local STAMP = "%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d%.%d%d%d "

test("run shows each line with its time and task, and its own lines", function(w)
  local out = with_titles(w, "--max-workers", "2").out
  matches(out, "^" .. STAMP .. "Workflow starting %(run%-id 1%)\n")
  matches(out, "\n" .. STAMP .. "%[1/start/1 %(worker %d+%)%] Task is starting%.\n")
  matches(out, "\n" .. STAMP .. "%[1/start/1 %(worker %d+%)%] starting\n")
  matches(out, "\n" .. STAMP .. "%[1/start/1 %(worker %d+%)%] Task finished successfully%.\n")
  matches(out, "\n" .. STAMP .. "%[1/a/%d+ %(worker %d+%)%] y seen\n")
  matches(out, "\n" .. STAMP .. "Done! 6 tasks in %d+%.%d%d%d s%.\n$")
  lacks(out, "\27")
end)

test("run --quiet shows only what steps print", function(w)
  local out = with_titles(w, "--quiet").out
  local n = 0
  for line in out:gmatch("[^\n]+") do
    n = n + 1
    matches(line, "^" .. STAMP .. "%[1/%a+/%d+ %(worker %d+%)%] %a")
    lacks(line, "Task ", "Workflow", "Done")
  end
  equal(n, 7)
end)

test("run --json gives one event a line", function(w)
  w:write("titles.lua", TITLES)
  local result = w:run("titles.lua", "--json", "--max-workers", "4")
  local events, count = {}, {}
  for line in result.out:gmatch("[^\n]+") do
    local event = support.decode(line)
    events[#events + 1] = event
    count[event.event] = (count[event.event] or 0) + 1
    equal(event.run, 1)
    check(type(event.time) == "number")
  end
  equal(events[1].event, "run_started")
  equal({ events[#events].event, events[#events].status }, { "run_finished", "done" })
  equal(count, { run_started = 1, task_started = 6, task_finished = 6, line = 7, run_finished = 1 })
  local paths, lines = {}, {}
  for _, event in ipairs(events) do
    if event.event == "task_finished" then
      paths[#paths + 1] = event.path
      equal({ event.attempt, event.step }, { 0, event.path:match("^%a+") })
      check(event.task >= 1)
    elseif event.event == "line" and event.stream == "stderr" then
      lines[#lines + 1] = event.text
    end
  end
  table.sort(paths)
  table.sort(lines)
  equal(paths, { "a[1]", "a[2]", "a[3]", "finish", "join", "start" })
  equal(lines, { "warning 1", "warning 2", "warning 3" })
end)

test("run --run-id-file writes the id and a newline, before the first task", function(w)
  w:write("peek.lua", [[
return { steps = { start = function(self) self.id = io.open("id"):read("*a") end } }]])
  with_titles(w)
  w:run("peek.lua", "--run-id-file", "id")
  equal(w:read("id"), "2\n")
  equal(w:artifacts("last").id, "2\n")
end)

test("run --dry-run says what would run and makes no run", function(w)
  w:write("titles.lua", TITLES)
  contains(w:expect(0, "run", "titles.lua", "--dry-run", "--suffix", "other").out, "ForeachFlow", "start", "join")
  equal(w:json("runs").runs, {})
  w:expect(2, "run", "titles.lua", "--dry-run", "--sufix", "other")
end)

test("run takes any number of workers", function(w)
  w:write("titles.lua", TITLES)
  w:run("titles.lua", "--max-workers", "2147483648")
  w:run("titles.lua", "--max-workers", "4294967295")
end)

test("run --keep-going runs what does not depend on the failure", function(w)
  w:write("failing.lua", FAILING)
  w:expect(1, "run", "failing.lua", "--keep-going", "--max-workers", "1")
  local by_path = {}
  for _, task in ipairs(w:tasks("last")) do by_path[task.path] = task.status end
  equal(by_path, { start = "done", bad = "failed", good = "done", better = "done" })
end)

test("many tasks of one step are told in a line per step and second, unless --verbose", function(w)
  w:write("many.lua", [[
return { params = { n = { default = 500 } }, steps = {
  start = { next = "each", foreach = "n" }, each = { next = "join" }, join = function(self, inputs) end,
} }]])
  local out = w:run("many.lua").out
  check(select(2, out:gsub("\n", "")) < 150, "few lines")
  matches(out, "\n" .. STAMP .. "Step each: %d+ done, %d+ running, 0 failed%.\n")
  equal(select(2, w:run("many.lua", "--verbose").out:gsub("Task is starting", "")), 502)
end)

test("run refuses options that make no sense", function(w)
  w:write("titles.lua", TITLES)
  for _, words in ipairs { { "--max-workers", "0" }, { "--max-workers", "many" }, { "--seed", "x" },
                           { "--max-num-splits=-1" }, { "--max-workers" }, { "--nonsense" } } do
    contains(w:expect(2, "run", "titles.lua", unpack(words)).err, words[1]:match("^[^=]+"))
  end
  w:expect(2, "run")
  w:expect(2, "nonsense")
  w:expect(2)
  equal(w:json("runs").runs, {})
end)

-- ---- show ---------------------------------------------------------------------------------

test("show tells the steps in topological order, with doc and transition", function(w)
  w:write("titles.lua", TITLES)
  local out = w:expect(0, "show", "titles.lua").out
  contains(out, "ForeachFlow", "Processes titles.", "Lists them.", "titles", "suffix")
  local at = 0
  for _, name in ipairs { "start", "a", "join", "finish" } do
    at = check(out:find("%f[%w]" .. name .. "%f[%W]", at + 1), name .. " comes in order")
  end
  local shown = w:json("show", "titles.lua")
  local names = {}
  for i, step in ipairs(shown.steps) do names[i] = step.name end
  equal(names, { "start", "a", "join", "finish" })
  equal({ shown.name, shown.doc, shown.steps[1].doc }, { "ForeachFlow", "Processes titles.", "Lists them." })
end)

test("show --dot draws the graph", function(w)
  w:write("titles.lua", TITLES)
  local out = w:expect(0, "show", "titles.lua", "--dot").out
  matches(out, "^digraph ")
  for _, edge in ipairs { { "start", "a" }, { "a", "join" }, { "join", "finish" } } do
    matches(out, ('"?%s"? *%%-> *"?%s"?'):format(edge[1], edge[2]))
  end
end)

test("ties in the order of steps are broken by name", function(w)
  w:write("ties.lua", [[
return { steps = {
  start = { next = { "zebra", "ant", "bee" } }, zebra = { next = "j" }, ant = { next = "j" },
  bee = { next = "j" }, j = function(self, inputs) end,
} }]])
  local names = {}
  for i, step in ipairs(w:json("show", "ties.lua").steps) do names[i] = step.name end
  equal(names, { "start", "ant", "bee", "zebra", "j" })
end)

-- ---- runs and status ----------------------------------------------------------------------

test("runs lists runs, newest first, filtered by flow, tag and status", function(w)
  with_titles(w, "--tag", "nightly", "--tag", "blue")
  w:write("failing.lua", FAILING)
  w:expect(1, "run", "failing.lua", "--max-workers", "1")
  with_titles(w)
  local function ids(...)
    local found = {}
    for i, run in ipairs(w:json("runs", ...).runs) do found[i] = run.id end
    return found
  end
  equal(ids(), { 3, 2, 1 })
  equal(ids("ForeachFlow"), { 3, 1 })
  equal(ids("--tag", "nightly"), { 1 })
  equal(ids("--status", "failed"), { 2 })
  equal(ids("ForeachFlow", "--status", "done"), { 3, 1 })
  equal(ids("Nobody"), {})
  local first = w:json("runs", "--tag", "blue").runs[1]
  equal(first, { id = 1, flow = "ForeachFlow", status = "done", tags = { "blue", "nightly" },
    origin_run_id = support.null, tasks = { done = 6, failed = 0, reused = 0 } })
  local out = w:expect(0, "runs").out
  contains(out, "ForeachFlow", "Failing", "done", "failed", "nightly")
  check(out:find("Failing", 1, true) > out:find("ForeachFlow", 1, true), "newest first")
end)

test("runs without a store is an empty list, and makes none", function(w)
  equal(w:json("runs"), { runs = {} })
  w:expect(0, "runs")
  equal(w:shell("ls -A | grep -c luaflow || true"), "0")
end)

test("status tells each step's tasks by state, and failures", function(w)
  w:write("failing.lua", FAILING)
  w:expect(1, "run", "failing.lua", "--max-workers", "1")
  local status = w:json("status", "1")
  equal({ status.id, status.flow, status.status, status.tasks.failed }, { 1, "Failing", "failed", 1 })
  local steps = {}
  for i, step in ipairs(status.steps) do
    steps[i] = step.name
    if step.name == "bad" then equal(step, { name = "bad", tasks = 1, done = 0, failed = 1, reused = 0 }) end
    if step.name == "join" then equal({ step.tasks, step.done }, { 0, 0 }) end
  end
  equal(steps, { "start", "bad", "good", "better", "join", "finish" })
  equal(#status.failures, 1)
  matches(status.failures[1].pathspec, "^Failing/1/bad/%d+$")
  contains(status.failures[1].message, "failing.lua:3: it broke")
  contains(status.failures[1].traceback, "failing.lua:3:")
  contains(w:expect(0, "status", "last").out, "Failing", "failed", "bad", "it broke", "finish")

  with_titles(w)
  local done = w:json("status", "ForeachFlow/2")
  equal(done.steps[2], { name = "a", tasks = 3, done = 3, failed = 0, reused = 0 })
  equal(done.failures, {})
end)

-- ---- dump, get, logs ----------------------------------------------------------------------

test("dump gives the artifacts of a run, a step or a task", function(w)
  with_titles(w, "--max-workers", "1")
  local all = w:tasks("last")
  equal(#all, 6)
  local numbers = {}
  for i, task in ipairs(all) do
    equal(task.status, "done")
    numbers[i] = tonumber(task.pathspec:match("^ForeachFlow/1/%a+/(%d+)$"))
    check(i == 1 or numbers[i] > numbers[i - 1], "in task order")
  end
  equal(all[1], { pathspec = "ForeachFlow/1/start/1", path = "start", status = "done",
    artifacts = { titles = { "x", "y", "z" } } })
  local step = w:tasks("ForeachFlow/1/a")
  equal(#step, 3)
  equal(step[2].artifacts, { titles = { "x", "y", "z" }, title = "y seen" })
  equal(w:tasks(step[3].pathspec), { step[3] })
  equal(w:tasks("1/join")[1].artifacts, { results = { "x seen", "y seen", "z seen" } })
  contains(w:expect(0, "dump", "last/join").out, "ForeachFlow/1/join/", "results", "y seen")
end)

test("dump --include shows only these, --max-value-size leaves long values out", function(w)
  w:write("long.lua", [[
return { steps = { start = function(self)
  self.long, self.short, self.other = ("q"):rep(2000), "s", 1
end } }]])
  w:run("long.lua")
  equal(w:tasks("last", "--include", "short,other")[1].artifacts, { short = "s", other = 1 })
  equal(#w:tasks("last")[1].artifacts.long, 2000)
  local text = w:expect(0, "dump", "last").out
  lacks(text, ("q"):rep(100))
  contains(text, "long = (string, 2000 bytes)")
  contains(w:expect(0, "dump", "last", "--max-value-size", "5000").out, ("q"):rep(2000))
  lacks(w:expect(0, "dump", "last", "--json", "--max-value-size", "100").out, "qqq")
end)

test("sizes are of values, not of their encoding", function(w)
  w:write("sizes.lua", [[
return { steps = { start = function(self)
  self.fits, self.over = ("f"):rep(1000), ("o"):rep(1001)
  self.floats, self.zero = require("ffi").new("float[?]", 300), -0
  self.list = {}
  for i = 1, 20000 do self.list[i] = i end
end } }]])
  w:run("sizes.lua")
  local out = w:expect(0, "dump", "last").out
  contains(out, ('fits = "%s"'):format(("f"):rep(1000)), "over = (string, 1001 bytes)",
    "floats = (array, 1200 bytes)", "zero = -0.0\n")
  matches(out, "list = %(list, %d+ bytes%)")
  contains(w:expect(0, "dump", "last", "--include", "zero", "--max_value_size=3").out, "zero = (number, 4 bytes)")
end)

test("dump --raw wants one task, --include an artifact that is there", function(w)
  with_titles(w)
  contains(w:expect(2, "dump", "1", "--raw", "titles").err, "--raw", "Flow/run/step/task")
  equal(w:expect(0, "dump", "1/start", "--raw", "titles").out, "\147\161x\161y\161z")
  contains(w:expect(2, "dump", "1", "--include", "nowhere").err, "nowhere", "titles")
  equal(w:tasks("1/start", "--include", " titles , ")[1].artifacts, { titles = { "x", "y", "z" } })
end)

test("get gives one artifact as it is", function(w)
  w:write("get.lua", [[
local ffi = require "ffi"
return { steps = {
  start = { next = "each", foreach = "n", function(self)
    self.n, self.bytes, self.floats = 2, "\0\255PNG", ffi.new("float[2]", { 1, -2 })
    self.t, self.truth, self.long = { a = 1 }, true, ("z"):rep(3000000)
    self.none, self.many = ffi.new("double[?]", 0), ffi.new("int32_t[?]", 700001)
    for i = 0, 700000 do self.many[i] = i end
  end },
  each = { next = "join" },
  join = function(self, inputs) self.word = "end" end,
} }]])
  w:run("get.lua")
  local function got(what) return w:expect(0, "get", what).out end
  equal(got("last/start/bytes"), "\0\255PNG")
  equal(got("last/start/floats"), "\0\0\128\63\0\0\0\192")
  equal(support.decode(got("get/1/start/1/t")), { a = 1 })
  equal(support.decode(got("1/start/truth")), true)
  equal(got("last/word"), "end")
  equal(#got("last/start/long"), 3000000)
  equal(got("last/start/none"), "")
  local many = got("last/start/many")
  equal({ #many, many:sub(-4), many:sub(1048577, 1048580) }, { 2800004, "\96\174\10\0", "\0\0\4\0" })
  w:expect(0, "get", "last/start/many", "-o", "file")
  equal(w:read("file") == many, true)
  w:expect(0, "get", "last/start/bytes", "-o", "file")
  equal(w:read("file"), "\0\255PNG")
  equal(w:expect(0, "get", "last/start/bytes", "-o", "-").out, "\0\255PNG")
  contains(w:expect(2, "get", "last/each/n").err, "each")
  contains(w:expect(2, "get", "last/start/nothing").err, "nothing")
end)

test("logs gives bare lines in task order", function(w)
  with_titles(w, "--max-workers", "4")
  equal(w:logs("last", "--stdout"), "starting\nx seen\ny seen\nz seen\n")
  equal(w:logs("last", "--stderr"), "warning 1\nwarning 2\nwarning 3\n")
  equal(w:logs("last/start"), "starting\n")
  equal(w:logs("last/finish"), "")
  equal(w:logs("last/a"), "x seen\nwarning 1\ny seen\nwarning 2\nz seen\nwarning 3\n")
  local first = w:tasks("last/a")[1].pathspec
  equal(w:logs(first), "x seen\nwarning 1\n")
  for line in w:logs("last", "--timestamps"):gmatch("[^\n]+") do
    matches(line, "%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d.* %a")
  end
end)

-- ---- tags and version ---------------------------------------------------------------------

test("tag adds, removes and lists tags", function(w)
  with_titles(w, "--tag", "first")
  w:expect(0, "tag", "add", "1", "b", "a tag", "b")
  equal(w:expect(0, "tag", "list", "last").out, "a tag\nb\nfirst\n")
  w:expect(0, "tag", "remove", "ForeachFlow/1", "first")
  equal(w:expect(0, "tag", "list", "1").out, "a tag\nb\n")
  equal(w:json("runs", "--tag", "a tag").runs[1].tags, { "a tag", "b" })
  equal(w:json("runs", "--tag", "first").runs, {})
end)

test("help is a command too", function(w)
  equal(w:expect(0, "help").out, w:expect(0, "--help").out)
  equal(w:expect(0, "help", "runs").out, w:expect(0, "runs", "--help").out)
  w:write("titles.lua", TITLES)
  contains(w:expect(0, "help", "run", "titles.lua").out, "--suffix")
end)

test("a console that is full, or not there, is no harm to the store", function(w)
  w:write("titles.lua", TITLES)
  local function shell(words)
    return w:shell(("LUAFLOW_STORE=store '%s' %s; echo $?"):format(support.command, words))
  end
  for _, words in ipairs { "--help", "help runs", "runs", "run titles.lua" } do
    equal(shell(words .. " 2>&1 >/dev/full"),
      "luaflow: cannot write to standard output: No space left on device\n2")
  end
  equal(shell("run titles.lua >&-"), "0")
  equal(shell("run titles.lua <&- >&- 2>&-"), "0")
  equal(#w:json("runs", "--store", "store").runs, 3)
  equal(#w:tasks("last", "--store", "store"), 6)
end)

test("a file that cannot be read is a usage error of any command", function(w)
  w:shell("mkdir folder.lua")
  for _, command in ipairs { "run", "check", "show" } do
    contains(w:expect(2, command, "folder.lua").err, "luaflow: cannot read folder.lua: ")
    contains(w:expect(2, command, "missing.lua").err, "luaflow: there is no file missing.lua")
  end
end)

test("a killed run shows what it lost", function(w)
  w:write("slow.lua", [[
return { steps = { start = function(self)
  io.open("begun", "w"):close()
  require("ffi").cdef "int usleep(unsigned);"
  require("ffi").C.usleep(30e6)
end } }]])
  local run = w:spawn("run", "slow.lua")
  support.wait_for("the step", function() return w:read("begun") end)
  support.wait_for("the run", function() return w:json("status", "last").steps[1].tasks == 1 end)
  run:kill("KILL")
  run:wait()
  matches(w:expect(0, "status", "last").out,
    "STEP +TASKS +DONE +RUNNING +FAILED +REUSED +LOST\nstart +1 +0 +0 +0 +0 +1\n")
end)

test("version tells luaflow's and its libraries' versions", function(w)
  contains(w:expect(0, "version").out, "luaflow 0.", "LuaJIT", "LMDB", "libevent", "xxHash")
end)

test("what is not there is named, with exit code 2", function(w)
  for _, words in ipairs { { "status", "1" }, { "dump", "last" }, { "logs", "7" } } do
    w:expect(2, unpack(words))
  end
  with_titles(w)
  for _, words in ipairs {
    { "status", "99" }, { "dump", "Nobody/1" }, { "dump", "1/nowhere" }, { "dump", "ForeachFlow/1/a/77" },
    { "logs", "ForeachFlow/9" }, { "get", "last/nothing" }, { "tag", "list", "12" }, { "dump", "what is this" },
  } do
    local last = words[#words]
    contains(w:expect(2, unpack(words)).err, last:match("[^/]+$"))
  end
end)

-- ---- the store ----------------------------------------------------------------------------

test("the store is the nearest .luaflow here or above, or the one that is named", function(w)
  local found = { store = false }
  local below = { store = false, cwd = "deep/er" }
  w:write("deep/er/titles.lua", TITLES)
  w:shell("mkdir .luaflow-elsewhere; mkdir here && cp deep/er/titles.lua here")
  w:run("titles.lua", { store = false, cwd = "here" })
  check(w:shell("ls here/.luaflow") ~= "", "a run makes ./.luaflow")
  w:shell("mv here/.luaflow .")
  equal(#w:json("runs", found).runs, 1)
  equal(#w:json("runs", below).runs, 1)
  w:run("titles.lua", below)
  equal(#w:json("runs", found).runs, 2)
  equal(w:shell("ls -A deep/er"), "titles.lua")

  local other = { store = false, cwd = "deep/er", env = { LUAFLOW_STORE = w.dir .. "/other" } }
  w:run("titles.lua", other)
  equal(#w:json("runs", other).runs, 1)
  equal(#w:json("runs", "--store", w.dir .. "/.luaflow", other).runs, 2)
  w:run("titles.lua", "--store", "third", other)
  equal(w:shell("ls -d deep/er/third"), "deep/er/third")
  equal(w:shell("stat -c %a deep/er/third"), "700")
end)

support.done()
