--- Proves that a run which was disturbed and resumed ends as if nothing had happened.
---
--- A flow made by chance runs once in peace. In another store it runs again, and at some task, or
--- at some time, the step fails, its process crashes, or the command is killed or interrupted;
--- what is left is resumed, and disturbed again, until it is done; now and then the flow's file
--- is changed in between, where it does not matter. Then all artifacts and logs
--- are those of the run in peace; and at every moment
---   * what the store shows as done is what it is in the run in peace,
---   * what was announced as finished is done,
---   * what was done before a resume is not executed again, but for what the resume names,
---   * a run that was resumed and not cut off has all that its origin had done,
---   * nothing is executed twice in the same run.
local generate = require "generate"
local place = require "place"
local random = require "random"
local support = require "support"

local resume = {
  name = "resume",
  summary = "flows made by chance, disturbed and resumed, end as if nothing had happened",
  count = 200,
}

local MAX_FAILURES = 5
local MAX_TASKS = 200
local MAX_DIFFERENCES = 10

local Proof = {}
Proof.__index = Proof

local function fail(text, ...) error({ difference = text:format(...) }, 0) end

-- ---- what can be seen of a run ------------------------------------------------------------------

--- path → { status =, artifacts = JSON text } of a dump. Equal artifacts are equal text.
local function read_dump(text)
  local tasks, at = {}, {}
  local head = '(){"pathspec":"[^"]*","path":"([^"]*)","status":"(%w+)","artifacts":()'
  for start, path, status, from in text:gmatch(head) do
    if tasks[path] then fail("the dump has task %s twice", path) end
    tasks[path] = { status = status }
    at[#at + 1] = { start = start, from = from, task = tasks[path] }
  end
  for i, one in ipairs(at) do
    -- What follows is `},{…` or `}]}`.
    local stop = at[i + 1] and at[i + 1].start - 3 or text:match("^.*()%}%]%}%s*$") - 1
    one.task.artifacts = text:sub(one.from, stop)
  end
  return tasks, #at
end

--- path → all lines that its task printed.
local function read_logs(text)
  local logs = {}
  for line, path in text:gmatch "((%S+)[^\n]*\n)" do logs[path] = (logs[path] or "") .. line end
  return logs
end

--- The calls of luaflow that must do.
function Proof:ask(...)
  local result = self.place:call { ... }
  if result.code ~= 0 then fail("luaflow %s: exit code %s\n%s", table.concat({ ... }, " "), result.code, result.err) end
  return result.out
end

--- The newest run of a store, with its `tasks` as in read_dump; nil where there is none.
function Proof:newest(store)
  local run = support.decode(self:ask("runs", "--json", "--store", store)).runs[1]
  if not run then return nil end
  local count
  run.said = run.tasks
  run.tasks, count = read_dump(self:ask("dump", run.id, "--json", "--store", store))
  if count ~= run.said.done + run.said.failed then
    fail("run %d has %d tasks in `runs` and %d in `dump`", run.id, run.said.done + run.said.failed, count)
  end
  return run
end

--- path → attempt → true of what the steps of a call say they have done; the ids of their runs.
function Proof:executed(number)
  local executed, runs = {}, {}
  for line in (self.place:read("executed" .. number) or ""):gmatch "[^\n]+" do
    local path, attempt, run = line:match "^(%S+) (%d+) (%d+)$"
    executed[path] = executed[path] or {}
    if executed[path][attempt] then fail("%s was executed twice in attempt %s of one run", path, attempt) end
    executed[path][attempt] = true
    runs[tonumber(run)] = true
  end
  return executed, runs
end

--- The paths of the events of one kind that a call has printed.
local function announced(out, event)
  local paths = {}
  for line in out:gmatch('[^\n]*"event":"' .. event .. '"[^\n]*\n') do
    paths[line:match '"path":"([^"]*)"' or "?"] = true
  end
  return paths
end

-- ---- comparing --------------------------------------------------------------------------------

local function briefly(value)
  if value == nil then return "not there" end
  return type(value) == "table" and "a table" or tostring(value):sub(1, 200)
end

-- Where two JSON values part first, and both there.
local function first_difference(a, b, where)
  if type(a) == "table" and type(b) == "table" then
    local keys = {}
    for key in pairs(a) do keys[#keys + 1] = key end
    for key in pairs(b) do
      if a[key] == nil then keys[#keys + 1] = key end
    end
    table.sort(keys, function(x, y) return tostring(x) < tostring(y) end)
    for _, key in ipairs(keys) do
      local there, one, other = first_difference(a[key], b[key], where .. "." .. tostring(key))
      if there then return there, one, other end
    end
    return nil
  end
  if a == b then return nil end
  return where, briefly(a), briefly(b)
end

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local function step_of(path) return path:match "^[%w_]+" end

--- What is done in `run` is what it is in the run in peace.
function Proof:check_done(run)
  for _, path in ipairs(sorted_keys(run.tasks)) do
    local task, expected = run.tasks[path], self.expected[path]
    if not expected then fail("run %d has a task %s, which should not be", run.id, path) end
    if task.status == "done" and task.artifacts ~= expected.artifacts then
      local where, wanted, got = first_difference(support.decode(expected.artifacts),
        support.decode(task.artifacts), path)
      fail("run %d: %s should be\n    %s\n  and is\n    %s", run.id, where or path .. " (its JSON)",
        wanted or expected.artifacts, got or task.artifacts)
    end
  end
end

--- All is there that is in the run in peace, logs included.
function Proof:check_whole(run)
  for _, path in ipairs(sorted_keys(self.expected)) do
    local task = run.tasks[path]
    if not task then fail("run %d has no task %s", run.id, path) end
    if task.status ~= "done" then fail("run %d: task %s is %s", run.id, path, task.status) end
  end
  local logs = read_logs(self:ask("logs", run.id, "--store", "disturbed"))
  for _, path in ipairs(sorted_keys(self.expected)) do
    if logs[path] ~= self.logs[path] then
      fail("run %d: the log of %s should be\n%s  and is\n%s", run.id, path, tostring(self.logs[path]),
        tostring(logs[path]))
    end
  end
end

-- What a resume from `step` surely executes, as a set of paths: that step, if it has tasks, and
-- then the last.
function Proof:must_run(step)
  local paths = {}
  for path in pairs(self.expected) do
    if step_of(path) == step then paths[path] = true end
  end
  if next(paths) then paths[self.flow.last] = true end
  return paths
end

-- Nothing that `origin` shows as done is executed again, but for the steps from `step` on;
-- that step and what was not done are executed, if the run is done. `origin` and `step` may be
-- nil.
function Proof:check_executed(call, run, origin, step)
  local again = step and self.flow.after[step] or {}
  local executed, ids = self:executed(call.number)
  for id in pairs(ids) do
    if run and id ~= run.id then fail("a step was told it is in run %d, and it is in run %d", id, run.id) end
  end
  for _, path in ipairs(sorted_keys(executed)) do
    local before = origin and origin.tasks[path]
    if before and before.status == "done" and not again[step_of(path)] then
      fail("%s was done in run %d and is executed again", path, origin.id)
    end
  end
  if not run or run.status ~= "done" then return end
  local must, reused = self:must_run(step), 0
  for _, path in ipairs(sorted_keys(self.expected)) do
    local before = origin and origin.tasks[path]
    if not executed[path] then
      if not before or before.status ~= "done" then fail("%s was not done and is not executed", path) end
      if must[path] then fail("%s should run again and is not executed", path) end
      reused = reused + 1
    end
  end
  if run.said.reused ~= reused then fail("run %d says it reused %d tasks: %d", run.id, run.said.reused, reused) end
end

-- However `run` ended, unless it was cut off, it has all that its origin had done, but for the steps
-- from `step` on.
function Proof:check_taken_over(run, origin, step)
  local again = step and self.flow.after[step] or {}
  for _, path in ipairs(sorted_keys(origin.tasks)) do
    local task = run.tasks[path]
    if origin.tasks[path].status == "done" and not again[step_of(path)] and (not task or task.status ~= "done") then
      fail("%s was done in run %d and is not in run %d", path, origin.id, run.id)
    end
  end
end

local KILLED = 137
local STATUS = { [0] = "done", [1] = "failed", [130] = "interrupted", [KILLED] = "interrupted" }

--- All that must hold after a call that ran or resumed the flow. Gives the new run, or nil
--- where the call was ended before there was one.
function Proof:check_call(call, origin, step)
  if call.has_hung then fail("call %d hangs", call.number) end
  local status = STATUS[call.code]
  if not status then fail("call %d ended with exit code %s:\n%s", call.number, call.code, call.err) end
  local run = self:newest "disturbed"
  if run and self.run and run.id == self.run.id then run = nil end
  if not run then
    if status ~= "interrupted" then fail("call %d made no run", call.number) end
    self:check_executed(call, nil, origin, step)
    return nil
  end
  if run.id ~= (self.run and self.run.id or 0) + 1 then fail("run %d follows run %d", run.id, self.run.id) end
  -- The signal may have come when all was done.
  local is_late = run.status == "done" and call.has_signal
  if run.status ~= status and not is_late then
    fail("call %d: exit code %d, but the run is %s", call.number, call.code, run.status)
  end
  for _, event in ipairs { "task_finished", "task_reused" } do
    for path in pairs(announced(call.out, event)) do
      if not run.tasks[path] or run.tasks[path].status ~= "done" then
        fail("call %d announced %s of %s, which is not done", call.number, event, path)
      end
    end
  end
  self:check_done(run)
  local is_cut_off = call.code == KILLED or call.err:find("Abandoned run", 1, true) -- by a second interrupt
  if origin and not is_cut_off then self:check_taken_over(run, origin, step) end
  self:check_executed(call, run, origin, step)
  if run.status == "done" then self:check_whole(run) end
  return run
end

-- ---- disturbing -------------------------------------------------------------------------------

-- A task that is not done yet, by path, of those whose step `is_fit`; nil where there is none.
function Proof:victim(is_fit)
  local paths = {}
  for _, path in ipairs(sorted_keys(self.expected)) do
    local task = self.run and self.run.tasks[path]
    if (not task or task.status ~= "done") and is_fit(self.flow.steps[step_of(path)]) then paths[#paths + 1] = path end
  end
  return #paths > 0 and self.random:pick(paths) or nil
end

local function at_task(how, when, attempt, path)
  return { environment = ("PROVE_DISTURB=%s %s %s %s"):format(how, when, attempt, path) }
end

local function at_any_attempt(r, how, path, step)
  local fails = step.fails or 0
  local last = step.is_caught and fails > 0 and fails - 1 or fails
  local attempt = r:between(0, last)
  -- An attempt that fails by plan does not come to its end.
  local when = attempt == fails and r:chance(0.5) and "late" or "early"
  return at_task(how, when, attempt, path)
end

local ways = {}

function ways.raise(proof)
  local r = proof.random
  local path = proof:victim(function(step) return not step.is_caught end)
  if not path then return nil end
  local step = proof.flow.steps[step_of(path)]
  -- With attempts left the run goes on.
  local is_left = step.retries and step.retries > step.fails
  if is_left and r:chance(0.4) then return at_task("raise", "early", step.fails, path) end
  return at_task("raise", r:pick { "early", "late" }, "*", path)
end

function ways.crash(proof)
  local path = proof:victim(function(step) return step.is_isolated and not step.is_caught end)
  return path and at_task("crash", proof.random:pick { "early", "late" }, "*", path)
end

function ways.kill(proof)
  local path = proof:victim(function() return true end)
  return path and at_any_attempt(proof.random, "kill", path, proof.flow.steps[step_of(path)])
end

function ways.interrupt(proof)
  local path = proof:victim(function() return true end)
  return path and at_any_attempt(proof.random, "interrupt", path, proof.flow.steps[step_of(path)])
end

function ways.kill_at_a_time(proof)
  return { signal = { name = "KILL", after = proof.seconds * proof.random:fraction() } }
end

function ways.interrupt_at_a_time(proof)
  local r = proof.random
  return { signal = { name = "INT", after = proof.seconds * r:fraction(), is_for_all = r:chance(0.4) } }
end

local WEIGHTS = { raise = 3, crash = 2, kill = 3, interrupt = 1.5, kill_at_a_time = 2, interrupt_at_a_time = 1 }

function Proof:disturbance()
  while true do
    local found = ways[self.random:weighted(WEIGHTS)](self)
    if found then return found end
  end
end

-- ---- runs -------------------------------------------------------------------------------------

function Proof:run_words(store, seed)
  local words = { "run", "flow.lua", "--store", store, "--seed", seed, "--json" }
  for _, word in ipairs(self.flow.arguments) do words[#words + 1] = word end
  return words
end

-- Changes the flow's file, and the next time back.
function Proof:edit()
  self.is_edited = not self.is_edited
  self.place:write("flow.lua", self.is_edited and self.flow.extended or self.flow.text)
  self.place:note(self.is_edited and "flow.lua gets a case more" or "flow.lua is as at first")
end

--- Runs the flow, or resumes what there is of it, and checks all. `step`: run it again.
function Proof:go_on(disturbance, step)
  local r, origin = self.random, self.run
  local words
  if self.flow.extended and r:chance(0.2) then self:edit() end
  if origin then
    words = { "resume", "flow.lua", "--store", "disturbed", "--json" }
    if step then table.insert(words, 3, step) end
    if r:chance(0.3) then
      if disturbance and r:chance(0.2) then origin = r:pick(self.runs) end
      words[#words + 1] = "--origin-run-id"
      words[#words + 1] = origin.id
    end
  else
    words = self:run_words("disturbed", self.seed)
    step = nil
  end
  words[#words + 1] = "--max-workers"
  words[#words + 1] = r:between(1, 4)
  if r:chance(0.25) then words[#words + 1] = "--keep-going" end
  local call = self.place:call(words, {
    environment = { "PROVE_EXECUTED=executed" .. self.place.count + 1, disturbance and disturbance.environment },
    signal = disturbance and disturbance.signal,
  })
  local run = self:check_call(call, origin, step)
  if run then
    self.run = run
    self.runs[#self.runs + 1] = run
  end
  return call
end

function Proof:any_step()
  return self.random:pick(sorted_keys(self.flow.steps))
end

--- The run in peace.
function Proof:run_in_peace()
  local call = self.place:call(self:run_words("peaceful", self.seed), { environment = { "PROVE_EXECUTED=executed1" } })
  if call.code ~= 0 then
    fail("the flow, run in peace, ends with exit code %s%s\n%s%s", call.code, call.has_hung and " (hangs)" or "",
      call.err, call.out:match '[^\n]*"event":"task_failed"[^\n]*\n' or "")
  end
  self.seconds = call.seconds
  self.expected = self:newest("peaceful").tasks
  self.logs = read_logs(self:ask("logs", "last", "--store", "peaceful"))
  local executed = self:executed(call.number)
  for path in pairs(self.expected) do
    if not executed[path] then fail("%s is executed under another path", path) end
  end
end

--- Disturbs and resumes until all is done. Gives the number of failures.
function Proof:run_disturbed()
  local r, failures = self.random, 0
  for _ = 1, MAX_FAILURES do
    self:go_on(self:disturbance(), r:chance(0.15) and self:any_step() or nil)
    if self.run and self.run.status == "done" then break end
    failures = failures + 1
  end
  if not self.run or self.run.status ~= "done" then
    local call = self:go_on(nil, nil)
    if call.code ~= 0 then fail("call %d, which nothing disturbed, ends with exit code %d\n%s", call.number, call.code,
      call.err) end
  end
  if r:chance(0.4) then self:go_on(nil, nil) end
  if r:chance(0.4) then self:go_on(nil, self:any_step()) end
  return failures
end

--- Proves one flow. Gives the number of failures, or nil and what is different.
local function prove_flow(dir, seed)
  local r = random.new(seed, "disturbance")
  local proof = setmetatable({
    place = place.new(dir, "flow" .. seed),
    flow = generate.flow(seed, r:pick { 12, 30, 60, 100, MAX_TASKS }),
    random = r,
    seed = seed,
    runs = {},
  }, Proof)
  proof.place:write("flow.lua", proof.flow.text)
  support.shell(("cp '%s/tests/prove/kit.lua' '%s'"):format(support.root, proof.place.dir))
  local ok, result = xpcall(function()
    proof:run_in_peace()
    return proof:run_disturbed()
  end, function(problem)
    return type(problem) == "table" and problem.difference or debug.traceback(problem)
  end)
  if ok then
    proof.place:remove()
    return result
  end
  return nil, ("%s\n  The flow and both stores are kept, and this was done:\n%s"):format(result, proof.place:history())
end

--- Proves `count` flows from `seed` on in directory `dir`, but stops at the tenth that fails;
--- `report` is called with the seed of each of these and a text. Gives whether all is well, and
--- the summary.
function resume.prove(dir, seed, count, report)
  local flows, failures, differences = 0, 0, 0
  while flows < count and differences < MAX_DIFFERENCES do
    local result, problem = prove_flow(dir, seed + flows)
    if problem then
      differences = differences + 1
      report(seed + flows, problem)
    else
      failures = failures + result
    end
    flows = flows + 1
  end
  return differences == 0, ("%d flows with %d failures, %d differences"):format(flows, failures, differences)
end

return resume
