#!/usr/bin/env luajit
-- What the attributes of a step do: trying again, catching, limits, --with, --keep-going.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check = support.test, support.equal, support.check
local contains, lacks = support.contains, support.lacks

-- Flows count their own calls in files, since a failed attempt leaves nothing else behind.
local COUNTING = [[
local function count(name) -- how often this was called with that name
  local file = assert(io.open(name, "a+")); file:write("x"); file:seek("set")
  local n = #file:read("*a"); file:close(); return n
end
]]

-- The events of a run that must end with `code`.
local function events(w, code, ...)
  local list = {}
  for line in w:expect(code, "run", ...).out:gmatch("[^\n]+") do
    local event = support.decode(line)
    list[#list + 1] = event
  end
  return list
end

-- Of some events, those named so, as a field of theirs.
local function each(list, name, field)
  local values = {}
  for _, event in ipairs(list) do
    if event.event == name then values[#values + 1] = event[field] end
  end
  return values
end

-- ---- retry ----------------------------------------------------------------------------------

local FLAKY = COUNTING .. [[
return { name = "Flaky", steps = {
  start = { next = "flaky", function(self) self.x = 1 end },
  flaky = { next = "finish", retry = 3, function(self)
    local n = count "calls"
    print("try " .. n)
    self["left_by_" .. n] = true
    if n < 3 then error("no luck, " .. n) end
    self.retry_count = require("luaflow").current.retry_count
  end },
  finish = {},
} }]]

test("a step is tried again until it succeeds", function(w)
  w:write("flaky.lua", FLAKY)
  local out = w:run("flaky.lua").out
  contains(out, "[1/flaky/2 (worker", "] Task failed.\n", "] flaky.lua:11: no luck, 1\n",
    "] Retrying (attempt 2 of 4).\n", "] flaky.lua:11: no luck, 2\n", "] Retrying (attempt 3 of 4).\n",
    "Done! 3 tasks in ")
  equal(select(2, out:gsub("%[1/flaky/2 %(worker %d+%)%] Task is starting%.\n", "")), 3)
  lacks(out, "See what it printed")
  equal(w:artifacts("last/flaky"), { x = 1, left_by_3 = true, retry_count = 2 })
  equal(w:logs("last/flaky"), "try 1\ntry 2\ntry 3\n", "every attempt's log is kept")
  equal(w:json("status", "last").failures, {})
  equal(w:json("runs").runs[1].tasks, { done = 3, failed = 0, reused = 0 })
end)

test("attempts are events of one task", function(w)
  w:write("flaky.lua", FLAKY)
  local list = events(w, 0, "flaky.lua", "--json")
  equal(each(list, "task_retrying", "attempt"), { 0, 1 })
  equal(each(list, "task_retrying", "task"), { 2, 2 })
  equal(each(list, "task_retrying", "message"), { "flaky.lua:11: no luck, 1", "flaky.lua:11: no luck, 2" })
  contains(each(list, "task_retrying", "traceback")[1], "flaky.lua:11:")
  equal(each(list, "task_retrying", "delay"), { 0, 0 })
  equal(each(list, "task_failed", "task"), {})
  equal(each(list, "task_finished", "attempt"), { 0, 2, 0 })
end)

test("a task fails when its last attempt does", function(w)
  w:write("flaky.lua", (FLAKY:gsub("retry = 3", "retry = 1")))
  local list = events(w, 1, "flaky.lua", "--json")
  equal(each(list, "task_retrying", "message"), { "flaky.lua:11: no luck, 1" })
  equal(each(list, "task_failed", "message"), { "flaky.lua:11: no luck, 2" })
  equal(each(list, "task_failed", "attempt"), { 1 })
  equal(each(list, "run_finished", "status"), { "failed" })
  equal(w:logs("last/flaky"), "try 1\ntry 2\n")
  local failures = w:json("status", "last").failures
  equal(#failures, 1)
  equal(failures[1].message, "flaky.lua:11: no luck, 2")
  equal(#failures[1].attempts, 1)
  equal(failures[1].attempts[1].message, "flaky.lua:11: no luck, 1")
  contains(failures[1].attempts[1].traceback, "flaky.lua:11:")
  contains(w:expect(0, "status", "last").out, "    attempt 1: flaky.lua:11: no luck, 1\n    flaky.lua:11: no luck, 2\n")
  equal(w:json("runs").runs[1].tasks, { done = 1, failed = 1, reused = 0 })
end)

test("retry = 0 is no retry", function(w)
  w:write("flaky.lua", (FLAKY:gsub("retry = 3", "retry = 0")))
  contains(w:expect(1, "run", "flaky.lua").out, "] Task failed.\n")
  equal(w:read("calls"), "x")
end)

test("what waits to be tried again waits longer each time, and others run meanwhile", function(w)
  w:write("flaky.lua", COUNTING .. [[
return { steps = {
  start = { next = { "flaky", "other" } },
  flaky = { next = "join", retry = { times = 3, delay = 0.2, backoff = 2 }, function(self)
    if count "calls" < 4 then error "no luck" end
  end },
  other = { next = "more" },
  more = { next = "join" },
  join = { next = "finish", function(self, inputs) end },
  finish = {},
} }]])
  local list = events(w, 0, "flaky.lua", "--json", "--max-workers", "1")
  equal(each(list, "task_retrying", "delay"), { 0.2, 0.4, 0.8 })
  local finished, before = {}, true
  for _, event in ipairs(list) do
    if event.event == "task_finished" and before then finished[event.step] = true end
    before = before and not (event.event == "task_started" and event.attempt == 3)
  end
  check(finished.other and finished.more, "the other branch ends while the one waits")
  local started = {}
  for _, event in ipairs(list) do
    if event.event == "task_started" and event.step == "flaky" then started[#started + 1] = event.time end
  end
  check(started[4] - started[1] > 1.3, "it did wait")
end)

test("of a foreach only the element that failed is tried again", function(w)
  w:write("flaky.lua", COUNTING .. [[
return { params = { n = { default = 5 } }, steps = {
  start = { next = "each", foreach = "n" },
  each = { next = "join", retry = 2, function(self)
    if count("calls" .. self.index) == 1 and self.index % 2 == 0 then error "even" end
    self.v = self.index
  end },
  join = { next = "finish", function(self, inputs) self.all = inputs:collect "v" end },
  finish = {},
} }]])
  w:run("flaky.lua")
  equal(w:artifacts("last/finish"), { all = { 1, 2, 3, 4, 5 } })
  for i = 1, 5 do equal(w:read("calls" .. i), i % 2 == 0 and "xx" or "x") end
end)

test("a failed element says which it was", function(w)
  w:write("each.lua", [[
return { name = "F", steps = {
  start = { next = "outer", foreach = "names", function(self) self.names = { "a", "b" } end },
  outer = { next = "inner", foreach = "rows", function(self) self.rows = { 7, { k = ("x"):rep(300) } } end },
  inner = { next = "close", function(self)
    if self.index == 2 and #self:foreach_stack()[1].input == 1 then error "second" end
  end },
  close = { next = "join", function(self, inputs) end },
  join = { next = "finish", function(self, inputs) end },
  finish = {},
} }]])
  local out = w:expect(1, "run", "each.lua", "--max-workers", "1").out
  contains(out, '] Path inner[1][2], index 2, input {"k":"xxxxxx', "xxx…\n")
  contains(out, "]   4 |   inner = {", "] > 5 |     if self.index == 2",
    "] See what it printed: luaflow logs F/1/inner/")
end)

test("a failed element says which it was when it is too large to be shown, too", function(w)
  w:write("each.lua", [[
return { steps = {
  start = { next = "each", foreach = "list", function(self) self.list = { "a", ("x"):rep(5000) } end },
  each = { next = "join", function(self) if self.index == 2 then error "second" end end },
  join = { next = "finish", function(self, inputs) end },
  finish = {},
} }]])
  contains(w:expect(1, "run", "each.lua").out, "] Path each[2], index 2, input too large to be shown here\n")
end)

test("each attempt draws the same random numbers", function(w)
  w:write("dice.lua", COUNTING .. [[
return { steps = { start = { retry = 1, function(self)
  self.die = math.random(1e9)
  print(self.die)
  if count "calls" == 1 then error "again" end
end } } }]])
  w:run("dice.lua")
  local first, second = w:logs("last"):match("^(%d+)\n(%d+)\n$")
  equal(first, second)
end)

-- ---- catch ----------------------------------------------------------------------------------

test("what is caught is an artifact, and the run goes on", function(w)
  w:write("caught.lua", [[
return { steps = {
  start = { next = "risky", function(self) self.x = 1 end },
  risky = { next = "finish", catch = "failure", retry = 1, function(self)
    self.half_done = true
    error "no luck"
  end },
  finish = function(self) print(self.failure.message, self.x) end,
} }]])
  local list = events(w, 0, "caught.lua", "--json")
  equal(each(list, "task_failed", "task"), {})
  equal(#each(list, "task_retrying", "task"), 1)
  local artifacts = w:artifacts("last/risky")
  contains(artifacts.failure.traceback, "caught.lua:5:")
  artifacts.failure.traceback = nil
  equal(artifacts, { x = 1, failure = { message = "caught.lua:5: no luck", attempts = 2, timeout = false } })
  equal(w:logs("last/finish"), "caught.lua:5: no luck\t1\n")
  equal(w:json("runs").runs[1].tasks, { done = 3, failed = 0, reused = 0 })
end)

test("of a foreach what was caught can be told from what was done", function(w)
  w:write("caught.lua", [[
return { params = { n = { default = 4 } }, steps = {
  start = { next = "each", foreach = "n" },
  each = { next = "join", catch = "failure", function(self)
    if self.index == 3 then error({ code = 3 }) end
    self.v = self.index
  end },
  join = { next = "finish", function(self, inputs)
    self.all = inputs:collect("v", 0)
    self.failed = {}
    for i, input in ipairs(inputs) do self.failed[i] = input:has "failure" end
  end },
  finish = {},
} }]])
  w:run("caught.lua")
  equal(w:artifacts("last/finish"), { all = { 1, 2, 0, 4 }, failed = { false, false, true, false } })
end)

test("what cannot be stored is caught too", function(w)
  w:write("caught.lua", [[
return { steps = {
  start = { next = "finish", catch = "failure", function(self) self.f = print end },
  finish = function(self) self.message = self.failure.message end,
} }]])
  contains(w:run("caught.lua").out, "] Task failed and was caught: artifact 'f' cannot be stored",
    "] Task finished successfully.\n")
  contains(w:artifacts("last/finish").message, "artifact 'f' cannot be stored")
end)

-- ---- limits ---------------------------------------------------------------------------------

-- A flow of 8 tasks that notice whether one of them is ever beside another.
local function crowd(attribute)
  return [[
local ffi = require "ffi"
ffi.cdef "int usleep(unsigned);"
local function is_there(name) local file = io.open(name); if file then file:close() end; return file ~= nil end
return { params = { n = { default = 8 } }, steps = {
  start = { next = "each", foreach = "n" },
  each = { next = "join", ]] .. attribute .. [[, function(self)
    self.met = false
    io.open("here" .. self.index, "w"):close()
    for _ = 1, 20 do
      ffi.C.usleep(1000)
      for i = 1, 8 do self.met = self.met or i ~= self.index and is_there("here" .. i) end
    end
    os.remove("here" .. self.index)
  end },
  join = { next = "finish", function(self, inputs)
    self.met = false
    for _, met in ipairs(inputs:collect "met") do self.met = self.met or met end
  end },
  finish = {},
} }]]
end

for _, case in ipairs {
  { "max_parallel = 1 lets one task of a step run at a time", "max_parallel = 1", "4", false },
  { "max_parallel = 4 lets several run", "max_parallel = 4", "4", true },
  { "a task that takes all workers runs alone", "resources = { cpu = 4 }", "4", false },
  { "a task that takes more workers than there are runs alone", "resources = { cpu = 64 }", "4", false },
  { "tasks that take half the workers run two by two", "resources = { cpu = 2, memory = 1, gpu = 0 }", "4", true },
} do
  test(case[1], function(w)
    w:write("crowd.lua", crowd(case[2]))
    w:run("crowd.lua", "--max-workers", case[3])
    equal(w:artifacts("last/finish").met, case[4])
  end)
end

-- ---- --with and --keep-going ----------------------------------------------------------------

test("--with gives an attribute to every step that has none of its own", function(w)
  w:write("with.lua", COUNTING .. [[
return { steps = {
  start = { next = { "a", "b" } },
  a = { next = "join", function() if count "a" < 3 then error "a" end end },
  b = { next = "join", retry = 1, function() if count "b" < 3 then error "b" end end },
  join = { next = "finish", function(self, inputs) end },
  finish = {},
} }]])
  local out = w:expect(1, "run", "with.lua", "--with", "retry=2", "--keep-going").out
  contains(out, "Run 1 failed: 1 task failed, 2 steps never ran.")
  equal(w:read("a"), "xxx")
  equal(w:read("b"), "xx")
end)

test("--with refuses what it cannot give", function(w)
  w:write("one.lua", "return { steps = { start = function() end } }")
  contains(w:expect(2, "run", "one.lua", "--with", "doc=hello").err, "'doc' is each step's own")
  contains(w:expect(2, "run", "one.lua", "--with", "max_paralel=2").err, "the nearest is 'max_parallel'", "isolate")
  contains(w:expect(2, "run", "one.lua", "--with", "timeout=soon").err, "timeout")
  equal(w:json("runs"), { runs = {} })
end)

test("--keep-going runs what does not depend on the failure", function(w)
  w:write("keep.lua", [[
return { params = { n = { default = 6 } }, steps = {
  start = { next = { "bad", "split" } },
  bad = { next = "after", function() error "no" end },
  after = { next = "join" },
  split = { next = "each", foreach = "n" },
  each = { next = "gather", function(self) if self.index == 2 then error "two" end end },
  gather = { next = "join", function(self, inputs) end },
  join = { next = "finish", function(self, inputs) end },
  finish = {},
} }]])
  local out = w:expect(1, "run", "keep.lua", "--keep-going", "--max-workers", "1").out
  contains(out, "Run 1 failed: 2 tasks failed, 4 steps never ran. Resume with:\n")
  equal(#w:tasks("last/each"), 6, "every element was tried")
  equal(w:json("runs").runs[1].tasks, { done = 7, failed = 2, reused = 0 })
  local failures = w:json("status", "last").failures
  equal({ failures[1].path, failures[2].path }, { "bad", "each[2]" })
end)

support.done()
