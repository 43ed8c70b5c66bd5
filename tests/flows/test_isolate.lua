#!/usr/bin/env luajit
-- Steps in processes of their own: what kills them, what they are given, what they leave behind.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check = support.test, support.equal, support.check
local contains, lacks, matches = support.contains, support.lacks, support.matches

-- A command made with a sanitizer takes its time.
local is_sanitized = support.shell("ldd '" .. support.command .. "'"):find("lib[at]san") ~= nil

--- A flow of one step with these attributes and this body, beside one that does well.
local function one(attributes, body)
  return ([[
local ffi = require "ffi"
return { name = "One", steps = {
  start = { next = { "good", "bad" } },
  good = { next = "join", function(self) self.fine = true end },
  bad = { next = "join", %s, function(self)
%s
  end },
  join = function(self, inputs) self.both = true end,
} }]]):format(attributes, body)
end

--- Runs it; `bad` must fail, and everything else be stored. Gives the message and the result.
local function fails(w, attributes, body)
  w:write("one.lua", one(attributes, body))
  local result = w:expect(1, "run", "one.lua", "--keep-going")
  equal(w:artifacts("last/good").fine, true)
  local failures = w:json("status", "last").failures
  equal(#failures, 1)
  matches(failures[1].pathspec, "/bad/")
  return failures[1].message, result
end

--- Runs it; all must go well. Gives what `bad` left, and the result.
local function runs(w, attributes, body)
  w:write("one.lua", one(attributes, body))
  local result = w:run("one.lua")
  return w:artifacts("last/bad"), result
end

--- Processes that have `marker` among their arguments or in their environment.
local function processes(marker)
  marker = "[" .. marker:sub(1, 1) .. "]" .. marker:sub(2) -- or it would find itself
  return support.shell(("grep -l -a -s -e '%s' /proc/[0-9]*/cmdline /proc/[0-9]*/environ | grep -v -e /self/ "
    .. "-e thread-self | sed 's|/proc/||; s|/.*||' | sort -u"):format(marker))
end

local function nothing_left(marker)
  support.wait_for("the end of all processes of " .. marker, function() return processes(marker) == "" end, 10)
end

local function now() return tonumber(support.shell("date +%s.%N")) end

-- ---- ends ---------------------------------------------------------------------------------

test("a step that never returns is ended when its time is over", function(w)
  local began = now()
  local message, result = fails(w, "timeout = 0.3", "local i = 0; while true do i = i + 1 end")
  equal(message, "timed out after 0.3 s")
  contains(result.out, "timed out after 0.3 s")
  check(now() - began < (is_sanitized and 20 or 4), "it took " .. now() - began .. " s")
end)

test("a C call that blocks is ended when its time is over", function(w)
  local body = [[ffi.cdef "int pause(void);"; print "waiting"; ffi.C.pause()]]
  equal(fails(w, "timeout = 1", body), "timed out after 1 s")
  equal(w:logs("last/bad"), "waiting\n")
end)

test("a step that will not hear SIGTERM is killed", function(w)
  equal(fails(w, "timeout = 0.2", [[
    ffi.cdef "void *signal(int, void *); int pause(void);"
    ffi.C.signal(15, ffi.cast("void *", 1))
    while true do ffi.C.pause() end]]), "timed out after 0.2 s")
end)

test("what a step has started ends with its time", function(w)
  equal(fails(w, "timeout = 0.3", [[os.execute("sleep 1000.5")]]), "timed out after 0.3 s")
  nothing_left("1000.5")
end)

for _, case in ipairs {
  { "a null pointer", [[ffi.cast("int *", 0)[0] = 1]], "killed by signal 11 (SIGSEGV)" },
  { "abort", [[ffi.cdef "void abort(void);"; ffi.C.abort()]], "killed by signal 6 (SIGABRT)" },
  { "kill -9", [[os.execute("kill -9 $PPID"); while true do end]], "killed by signal 9 (SIGKILL)", "memory" },
  { "os.exit", [[print "bye"; os.exit(3)]], "the process ended with exit code 3 before the step did" },
  { "os.exit(0)", [[os.exit(0)]], "exit code 0" },
  { "exit in C", [[ffi.cdef "void _exit(int);"; ffi.C._exit(42)]], "exit code 42" },
} do
  test("a process that ends by " .. case[1] .. " fails its task alone, and says so", function(w)
    contains(fails(w, "isolate = true", case[2]), unpack(case, 3))
  end)
end

test("an error in an isolated step is told as in any other", function(w)
  local body = "local function inner(x) return x.field.missing end\n    inner({})\n"
  local message, result = fails(w, "isolate = true", body)
  local plain, plain_result = fails(w, "doc = 'x'", body)
  equal(message, plain)
  matches(message, "^one.lua:6: attempt to index field 'field'")
  equal(result.out:match("stack traceback:.-\n[^\t]"), plain_result.out:match("stack traceback:.-\n[^\t]"))
end)

for name, code in pairs {
  ["an artifact that cannot be stored"] = "self.model = { layers = { print } }",
  ["one that is not there"] = "return self.nothing",
  ["an error value that is a table"] = "error({ code = 7 })",
  ["a name that is no string"] = "rawset(self, 1, 2)",
} do
  test("failures are the same: " .. name, function(w)
    equal(fails(w, "isolate = true", code), (fails(w, "doc = 'x'", code)))
  end)
end

test("a program that a step left running does not stay", function(w)
  local left = runs(w, "isolate = true", [[os.execute("sleep 1001.5 &"); self.fine = true]])
  equal(left.fine, true)
  nothing_left("1001.5")
end)

test("a program that holds the step's output does not keep it from ending", function(w)
  local began = now()
  runs(w, "isolate = true", [[
    ffi.cdef "int fork(void); int pause(void);"
    io.popen("sleep 1002.5")
    if ffi.C.fork() == 0 then ffi.C.pause() end]])
  check(now() - began < 20)
  nothing_left("1002.5")
end)

test("when luaflow is killed, its steps and what they started end", function(w)
  w:write("long.lua", [[
return { params = { n = { default = 2 } }, steps = {
  start = { next = "each", foreach = "n" },
  each = { next = "join", isolate = true, function(self)
    print "begun"
    if self.index == 1 then while true do end else os.execute("sleep 1003.5") end
  end },
  join = function(self, inputs) end,
} }]])
  local process = w:spawn("run", "long.lua", "--max-workers", "2", { env = { MARK = "mark-of-" .. w.dir } })
  support.wait_for("both steps", function() return select(2, process:out():gsub("%] begun", "")) == 2 end)
  check(processes("mark-of-" .. w.dir) ~= "", "there are processes")
  process:kill("KILL")
  equal(process:wait(10), 137)
  nothing_left("mark-of-" .. w.dir)
  nothing_left("1003.5")
  equal(w:json("runs").runs[1].status, "interrupted")
end)

-- ---- output -------------------------------------------------------------------------------

test("all that a step, its C code and its programs print is captured", function(w)
  local _, result = runs(w, "isolate = true", [[
    ffi.cdef "int printf(const char *, ...); int fflush(void *); int write(int, const char *, size_t);"
    print("from Lua", 1)
    io.stderr:write("Lua's stderr\n")
    ffi.C.printf("from C\n")
    ffi.C.write(2, "raw\n", 4)
    os.execute("echo a program; echo its stderr >&2")
    local pipe = io.popen("cat; echo another >&2", "w")
    pipe:write("piped\n")
    pipe:close()
    ffi.C.printf("unfinished")]])
  equal(w:logs("last/bad", "--stdout"), "from Lua\t1\nfrom C\na program\npiped\nunfinished")
  equal(w:logs("last/bad", "--stderr"), "Lua's stderr\nraw\nits stderr\nanother\n")
  matches(result.out, "%[1/bad/%d+ %(pid %d+%)%] from C\n")
  lacks(result.err, "raw", "stderr")
end)

test("both streams of a step keep their order", function(w)
  runs(w, "isolate = true", [[
    for i = 1, 50 do
      io.write(i, "\n")
      io.stderr:write(i, "\n")
    end]])
  local lines = {}
  for i = 1, 50 do lines[#lines + 1] = i .. "\n" .. i .. "\n" end
  equal(w:logs("last/bad"), table.concat(lines))
end)

test("much output is neither lost nor in the way", function(w)
  runs(w, "isolate = true", [[
    for i = 1, 20000 do print("line " .. i) end
    os.execute("head -c 3000000 /dev/zero | tr '\\0' x")]])
  local log = w:logs("last/bad")
  equal(select(2, log:gsub("line %d+\n", "")), 20000)
  equal(#log:match("x+"), 3000000)
end)

-- ---- what it is given ---------------------------------------------------------------------

test("env is seen by os.getenv and by programs, from the file's first line on", function(w)
  w:write("env.lua", [[
local at_the_top = os.getenv("GREETING")
return { steps = {
  start = { next = "finish", env = { GREETING = "good morning", OTHER = "1" }, function(self)
    self.seen = { at_the_top, os.getenv("GREETING"), os.getenv("OTHER"), os.getenv("GIVEN") }
    os.execute("echo $GREETING from a program")
  end },
  finish = function(self) self.after = os.getenv("GREETING") or "none" end,
} }]])
  w:run("env.lua", { env = { GIVEN = "kept" } })
  equal(w:artifacts("last/start").seen, { "good morning", "good morning", "1", "kept" })
  equal(w:logs("last/start"), "good morning from a program\n")
  equal(w:artifacts("last/finish").after, "none")
end)

test("a step's process has nothing of luaflow's but its own four descriptors", function(w)
  runs(w, "isolate = true", [[os.execute("echo $(ls /proc/$PPID/fd)")]])
  matches(w:logs("last/bad"), is_sanitized and "^0 1 2 3" or "^0 1 2 3\n$")
end)

test("programs that a step starts have nothing of luaflow's at all", function(w)
  runs(w, "isolate = true", [[os.execute("ls /proc/self/fd | grep -v -e '^[012]$' | wc -l")]])
  equal(w:logs("last/bad"), "1\n") -- what ls itself has open
end)

test("values of every kind go to a process and come back", function(w)
  w:write("values.lua", [[
local ffi = require "ffi"
local luaflow = require "luaflow"
local Vec = {}
Vec.__index = Vec
luaflow.register("Vec", Vec)
return { name = "V", params = { p = { default = "given" } }, steps = {
  start = { next = "a", function(self)
    self.numbers = { -0, 0/0, 1/0, 2^53 + 1, 0.1 }
    self.bytes = "\0\255" .. ("x"):rep(300000)
    self.long = 2^63 < 0 and 0 or 9223372036854775807LL
    self.array = ffi.new("double[?]", 200000)
    for i = 0, 199999 do self.array[i] = i / 3 end
    self.vec = setmetatable({ x = 1 }, Vec)
    self.gone = 1
    self.table = { deep = { 1, 2, 3 } }
    self.untouched = ("u"):rep(5000)
  end },
  a = { next = "b", isolate = true, function(self)
    assert(1 / self.numbers[1] == -1/0 and self.numbers[2] ~= self.numbers[2] and self.numbers[4] == 2^53 + 1)
    assert(#self.bytes == 300002 and self.bytes:sub(1, 2) == "\0\255")
    assert(self.long == 9223372036854775807LL and self.array[199999] == 199999 / 3)
    assert(getmetatable(self.vec) == Vec and self.p == "given" and self:has("gone"))
    assert(not self:has("nope") and self:get("nope", 7) == 7)
    self.vec2 = setmetatable({ x = self.vec.x + 1 }, Vec)
    self.array2 = ffi.new("int64_t[3]", 1, 2, -3)
    self.gone = nil
    self.table.deep[4] = 4
    self.big = ("b"):rep(5000000)
    self.none = {}
  end },
  b = function(self)
    assert(getmetatable(self.vec2) == Vec and self.vec2.x == 2 and self.array2[2] == -3)
    assert(not self:has("gone") and #self.table.deep == 4 and #self.big == 5000000)
    assert(#self.untouched == 5000 and next(self.none) == nil)
  end,
} }]])
  w:run("values.lua")
end)

test("every kind of foreach gives its elements to processes", function(w)
  w:write("each.lua", [[
local ffi = require "ffi"
local lists = {
  list = { 5, "five", { 5 }, false, ("y"):rep(70000) },
  range = 3,
  bytes = ffi.new("uint8_t[3]", 1, 2, 255), shorts = ffi.new("int16_t[2]", -1, 2), ints = ffi.new("int32_t[2]", -1, 2),
  longs = ffi.new("int64_t[2]", -1, 2), ulongs = ffi.new("uint64_t[2]", 1, 2), floats = ffi.new("float[2]", 0.5, 2),
  doubles = ffi.new("double[2]", 0.1, 2),
}
return { params = { kind = { default = "list" } }, steps = {
  start = { next = "outer", foreach = "two", function(self) self.two = { "a", "b" }; self.over = lists[self.kind] end },
  outer = { next = "inner", foreach = "over", isolate = true, function(self) self.letter = self.input end },
  inner = { next = "join", isolate = true, function(self)
    local stack = self:foreach_stack()
    assert(#stack == 2 and stack[1].input == self.letter and stack[2].index == self.index)
    self.got = { tostring(self.input), self.index, stack[1].step, stack[1].size, stack[2].size, self.letter }
  end },
  join = { next = "finish", isolate = true, function(self, inputs)
    self.all = inputs:collect("got")
    self.letter = self.input
  end },
  finish = function(self, inputs) self.all = inputs:collect("all"); self.letters = inputs:collect("letter") end,
} }]])
  for _, kind in ipairs { "list", "range", "bytes", "shorts", "ints", "longs", "ulongs", "floats", "doubles" } do
    w:run("each.lua", "--kind", kind)
    local apart = w:artifacts("last/finish")
    w:shell("sed -e 's/isolate = true, //' each.lua >plain.lua")
    w:run("plain.lua", "--kind", kind)
    local plain = w:artifacts("last/finish")
    if kind == "list" then -- a table's address is its own
      for _, all in ipairs { apart.all[1], apart.all[2], plain.all[1], plain.all[2] } do all[3][1] = "table" end
    end
    equal(apart, plain, kind)
  end
end)

test("a wide join collects, reads and merges in a process", function(w)
  w:write("wide.lua", [[
return { params = { n = { default = 3000 } }, steps = {
  start = { next = "each", foreach = "n", function(self) self.common = ("c"):rep(400) end },
  each = { next = "join", function(self)
    self.v = self.input
    if self.input % 2 == 0 then self.even = true end
    self.text = ("t"):rep(self.input % 1000)
    self.clash = self.input
  end },
  join = { next = "finish", isolate = true, function(self, inputs)
    local sum = 0
    for _, v in ipairs(inputs:collect("v")) do sum = sum + v end
    self.sum = sum
    local evens = 0
    for _, even in ipairs(inputs:collect("even", false)) do if even then evens = evens + 1 end end
    self.evens = evens
    self.length = 0
    for _, text in ipairs(inputs:collect("text")) do self.length = self.length + #text end
    self.last = inputs[#inputs].v
    self.haves = { inputs[1]:has("even"), inputs[2]:has("even") }
    local ok, message = pcall(inputs.collect, inputs, "even")
    self.message = message
    ok, message = pcall(self.merge_artifacts, self, inputs)
    self.conflict = message
    self:merge_artifacts(inputs, { exclude = { "v", "clash", "text" } })
  end },
  finish = function(self) assert(#self.common == 400 and self.even == true and not self:has("clash")) end,
} }]])
  w:run("wide.lua")
  local join = w:artifacts("last/join")
  equal({ join.sum, join.evens, join.last, join.haves }, { 4501500, 1500, 3000, { false, true } })
  equal(join.length, 3 * 499500)
  contains(join.message, "has no artifact 'even' in each[1], input 1 of step join")
  contains(join.conflict, "[clash, text, v].")
end)

test("a join names its branches in a process", function(w)
  w:write("branch.lua", [[
return { steps = {
  start = { next = { "a", "b" }, function(self) self.x = 1 end },
  a = { next = "c", function(self) self.from = "a" end },
  c = { next = "join" },
  b = { next = "join", function(self) self.from = "b" end },
  join = { isolate = true, function(self, inputs)
    self.seen = { inputs.a.from, inputs.c.from, inputs.b.from, inputs[2].from, tostring(inputs.b) }
    self.wrong = select(2, pcall(function() return inputs.z end))
  end },
} }]])
  w:run("branch.lua")
  local join = w:artifacts("last/join")
  equal(join.seen, { "a", "a", "b", "b", "<input b>" })
  contains(join.wrong, "step join has no input 'z'; it has a, b, c")
end)

test("a step knows who it is, and draws the same numbers, wherever it runs", function(w)
  w:write("who.lua", [[
local luaflow = require "luaflow"
local top = math.random()
return { name = "Who", steps = {
  start = { next = "each", foreach = "l", function(self) self.l = { 1, 2, 3 }; self.top = top end },
  each = { next = "join", function(self)
    local c = luaflow.current
    self.who = { c.flow_name, c.step_name, c.task_id, c.retry_count, c.tags, c.params, top, math.random() }
  end },
  join = function(self, inputs) self.all = inputs:collect("who"); self.own = math.random() end,
} }]])
  local function all(...)
    w:run("who.lua", "--seed", "7", "--tag", "t1", "--tag", "t0", "--max-workers", "1", ...)
    return w:artifacts("last/join")
  end
  equal(all("--with", "isolate=true"), all())
end)

test("the flow's own functions are loaded once more for each process, and print once", function(w)
  w:write("top.lua", [[
print "loading"
return { steps = {
  start = { next = "finish", isolate = true, function() print "one" end },
  finish = { isolate = true, function() print "two" end },
} }]])
  w:run("top.lua")
  equal(w:logs("last"), "loading\none\ntwo\n")
end)

test("modules beside the flow file are found in a process", function(w)
  w:write("sub/helper.lua", "return { answer = 42 }")
  w:write("sub/flow.lua", [[
local helper = require "helper"
return { steps = { start = { isolate = true, function(self) self.answer = helper.answer end } } }]])
  w:run("sub/flow.lua")
  equal(w:artifacts("last").answer, 42)
end)

test("a file that a step did not close is written all the same", function(w)
  runs(w, "isolate = true", [[kept = io.open("left.txt", "w"); kept:write("all of it")]])
  equal(w:read("left.txt"), "all of it")
end)

for _, flow in ipairs { "branch", "foreach", "linear", "loop", "merge", "nested", "parameters", "statistics",
                        "switch", "wordcount", "bake" } do
  test("the lesson " .. flow .. " leaves the same in processes", function(w)
    local path = support.flow(flow .. ".lua")
    local function left(...)
      local run = w:luaflow("run", path, "--seed", "5", ...)
      if run.code ~= 0 then return { run.code } end
      local tasks = w:tasks("last")
      for _, task in ipairs(tasks) do task.pathspec = nil end
      table.sort(tasks, function(a, b) return a.path < b.path end)
      return tasks
    end
    equal(left("--with", "isolate=true"), left())
  end)
end

-- ---- catch --------------------------------------------------------------------------------

for name, case in pairs {
  ["an error"] = { "", "error('oh no')", "caught.lua:5: oh no", false, true },
  ["an error in a process"] = { "isolate = true,", "error('oh no')", "caught.lua:5: oh no", false, true },
  ["a crash"] = { "isolate = true,", "require('ffi').cast('int *', 0)[0] = 1", "SIGSEGV", false, false },
  ["a timeout"] = { "timeout = 0.2,", "while true do end", "timed out after 0.2 s", true, false },
  ["a value that cannot be stored"] = { "", "self.f = print", "artifact 'f' cannot be stored", false, false },
} do
  test("a step that catches goes on after " .. name, function(w)
    w:write("caught.lua", ([[
return { steps = {
  start = { next = "risky", function(self) self.before = 1; self.big = ("x"):rep(1000) end },
  risky = { next = "after", catch = "failure", %s function(self)
    self.own = 1
    %s
  end },
  after = function(self)
    assert(self.before == 1 and #self.big == 1000 and not self:has("own"))
    self.seen = self.failure
  end,
} }]]):format(case[1], case[2]))
    w:run("caught.lua")
    local seen = w:artifacts("last/after").seen
    contains(seen.message, case[3])
    equal(seen.attempts, 1)
    equal(seen.timeout, case[4])
    equal(seen.traceback ~= "", case[5])
  end)
end

test("a join that catches passes on nothing else", function(w)
  w:write("caught.lua", [[
return { params = { p = { default = 1 } }, steps = {
  start = { next = { "a", "b" }, function(self) self.x = 1 end },
  a = { next = "join" },
  b = { next = "join" },
  join = { next = "after", catch = "failure", function(self, inputs)
    self:merge_artifacts(inputs)
    error("late", 0)
  end },
  after = function(self) assert(not self:has("x") and self.p == 1); self.seen = self.failure.message end,
} }]])
  w:run("caught.lua")
  equal(w:artifacts("last/after").seen, "late")
end)

-- ---- many, and none -----------------------------------------------------------------------

test("200 processes leave no descriptors behind, and hardly a zombie", function(w)
  w:write("many.lua", [[
local function count(what)
  local pipe = io.popen(what)
  local n = tonumber(pipe:read("*a"))
  pipe:close()
  return n
end
return { params = { n = { default = 200 } }, steps = {
  start = { next = "each", foreach = "n" },
  each = { next = "join", isolate = true, function(self)
    self.pid = tonumber(io.open("/proc/self/stat"):read("*a"):match("^%d+"))
  end },
  join = { next = "again", function(self, inputs)
    local seen = {}
    for _, pid in ipairs(inputs:collect("pid")) do
      assert(not seen[pid], "a process ran two tasks")
      seen[pid] = true
    end
    self.zombies = count("ps -o stat= --ppid $PPID | grep -c Z")
    self.descriptors = count("ls /proc/$PPID/fd | wc -l")
  end },
  again = {},
} }]])
  w:run("many.lua", "--max-workers", "4")
  local join = w:artifacts("last/join")
  check(join.zombies <= 4, join.zombies .. " zombies")
  check(join.descriptors < 60, join.descriptors .. " descriptors are open")
end)

test("a run without isolated steps starts no process", function(w)
  w:write("none.lua", [[
return { steps = { start = function(self)
  local pipe = io.popen("ps -o args= --ppid $PPID | grep -c '[s]erve-one-step'")
  self.n = tonumber(pipe:read("*a"))
end } }]])
  w:run("none.lua")
  equal(w:artifacts("last").n, 0)
end)

test("nobody but luaflow starts a step's process", function(w)
  contains(w:expect(2, "--serve-one-step").err, "only luaflow itself starts luaflow so")
end)

support.done()
