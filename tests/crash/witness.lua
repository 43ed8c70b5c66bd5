--- What must hold of a run whatever happened to it. Knows the command line only.
---
--- A flow runs once in peace. Then, of any run of it that was ended, failed or lost its disk:
---   * its store opens, and `runs`, `status`, `dump` and `verify` find nothing wrong;
---   * what it shows as done is what it is in the run in peace, bit for bit;
---   * what was announced is there: each event, each line of the console, the exit code;
---   * resumed, it ends as the run in peace.
local place = require "place"
local support = require "support"

local witness = {}

local Witness = {}
Witness.__index = Witness

--- The flows that are disturbed, by name.
witness.flows = { "small", "large", "wide", "apart" }

local SHOWN = 20000 -- bytes: the dump has greater values as their kind and size, which `get` tells
local SEED = 11

--- Ends what witness.try() tries.
function witness.fail(text, ...) error({ difference = text:format(...) }, 0) end

local fail = witness.fail

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

--- Calls the command in `at`, with further options of Place:call.
function witness.call(at, words, options)
  options = options or {}
  options.environment = options.environment or {}
  table.insert(options.environment, 1, "LUAFLOW_EXE=" .. support.command)
  table.insert(options.environment, 1, "PROVE_CASE=" .. at.dir)
  return at:call(words, options)
end

--- No process that a call in `at` started is left; a moment is given them.
function witness.check_orphans(at)
  local left
  for _ = 1, 100 do
    left = support.shell(("grep -lsa 'PROVE_CASE=%s' /proc/[0-9]*/environ"):format(at.dir))
    if left == "" then return end
    support.sleep(0.02)
  end
  fail("these processes are left: %s", support.shell("ps -o pid,stat,args " .. left:gsub("%D+", " ")))
end

--- Calls the command, which must succeed; what it prints.
function witness.ask(at, ...)
  local call = witness.call(at, { ... })
  if call.code ~= 0 then
    fail("luaflow %s: exit code %s\n%s", table.concat({ ... }, " "), tostring(call.code), call.err .. call.out)
  end
  return call.out
end

--- Calls `body`, and removes the files of place `at` if all is well. True, or nil and what is
--- not.
function witness.try(at, body)
  local ok, problem = xpcall(body, function(problem)
    return type(problem) == "table" and problem.difference or debug.traceback(problem)
  end)
  if ok then
    at:remove()
    return true
  end
  return nil, ("%s\n  The files are kept, and this was done:\n%s"):format(problem, at:history())
end

-- ---- reading ----------------------------------------------------------------------------------

-- pathspec → { path =, status =, artifacts = JSON text } of a dump, and how many.
local function read_dump(text)
  local tasks, at = {}, {}
  for start, spec, path, status, from in
    text:gmatch '(){"pathspec":"([^"]*)","path":"([^"]*)","status":"(%w+)","artifacts":()' do
    tasks[spec] = { path = path, status = status }
    at[#at + 1] = { start = start, from = from, task = tasks[spec] }
  end
  for i, one in ipairs(at) do
    -- What follows is `},{…` or `}]}`.
    local stop = at[i + 1] and at[i + 1].start - 3 or text:match("^.*()%}%]%}%s*$") - 1
    one.task.artifacts = text:sub(one.from, stop)
  end
  return tasks, #at
end

-- Adds the digests of what the dump does not show.
local function add_digests(at, store, tasks)
  local specs = {}
  for spec, task in pairs(tasks) do
    for name in task.artifacts:gmatch '"(%w+)":{"$type":"omitted"' do
      specs[#specs + 1] = spec .. "/" .. name
    end
  end
  if #specs == 0 then return end
  table.sort(specs)
  local digests = support.shell(("cd %s && for i in %s; do echo $(%s get $i --store %s | md5sum); done")
    :format(quote(at.dir), table.concat(specs, " "), quote(support.command), store))
  local i = 0
  for digest in digests:gmatch "(%x+)[^\n]*" do
    i = i + 1
    local task = tasks[specs[i]:match "^(.*)/"]
    task.artifacts = task.artifacts .. specs[i]:match "[^/]*$" .. digest
  end
end

--- The run that a store shows as its newest (or `id`), with its `tasks` by pathspec; nil where
--- there is none.
function witness.read(at, store, id)
  local run
  for _, one in ipairs(support.decode(witness.ask(at, "runs", "--json", "--store", store)).runs) do
    if not run and (not id or one.id == id) then run = one end
  end
  if not run then return nil end
  run.said = run.tasks
  local count
  run.tasks, count = read_dump(witness.ask(at, "dump", run.id, "--json", "--max-value-size", SHOWN, "--store", store))
  if count ~= run.said.done + run.said.failed then
    fail("run %d has %d tasks in `runs` and %d in `dump`", run.id, run.said.done + run.said.failed, count)
  end
  add_digests(at, store, run.tasks)
  return run
end

--- What a call, with `--json` or without, or a part of its output has promised: `run` (its
--- number), `tasks` (a set of "step/task"), `status`.
function witness.promises(out)
  local promise = { run = tonumber(out:match '"event":"run_started","run":(%d+)'), tasks = {} }
  for line in out:gmatch "([^\n]*)\n" do
    if line:find '"event":"task_finished"' or line:find '"event":"task_reused"' then
      promise.tasks[line:match '"step":"([^"]*)"' .. "/" .. line:match '"task":(%d+)'] = true
    end
    local run, step, task = line:match "%[(%d+)/([%w_]+)/(%d+).*%] Task finished successfully%."
    if run then
      promise.run = tonumber(run)
      promise.tasks[step .. "/" .. task] = true
    end
    if line:find " Done! %d+ tasks in " then promise.status = "done" end
    promise.status = line:match '"event":"run_finished".*"status":"(%w+)"' or promise.status
  end
  return promise
end

-- ---- the flow ---------------------------------------------------------------------------------

--- Copies a flow to `at`.
function Witness:bring(at)
  support.shell(("cp %s %s/flow.lua"):format(quote(("%s/tests/crash/flows/%s.lua"):format(support.root, self.name)),
    quote(at.dir)))
end

--- The words of a run in `store`, and more.
function Witness:run_words(store, ...)
  return { "run", "flow.lua", "--store", store, "--seed", SEED, ... }
end

--- A flow of witness.flows, run in peace below `dir`. Has the `seconds` it took.
function witness.new(dir, name)
  local self = setmetatable({ name = name, place = place.new(dir, "peaceful-" .. name) }, Witness)
  self:bring(self.place)
  local call = witness.call(self.place, self:run_words("peaceful", "--max-workers", 2))
  if call.code ~= 0 then
    error(("%s, run in peace, ends with exit code %s\n%s%s"):format(name, tostring(call.code), call.out, call.err), 0)
  end
  self.seconds = call.seconds
  self.expected, self.n_expected = {}, 0
  for _, task in pairs(witness.read(self.place, "peaceful").tasks) do
    self.expected[task.path] = task.artifacts
    self.n_expected = self.n_expected + 1
  end
  return self
end

function Witness:close() self.place:remove() end

-- ---- what must hold ---------------------------------------------------------------------------

local has_verify

local function verify(at, store)
  if has_verify == nil then has_verify = witness.call(at, { "verify", "--help" }).code == 0 end
  if has_verify then witness.ask(at, "verify", "--store", store) end
end

function Witness:check_tasks(run, promise)
  for spec, task in pairs(run.tasks) do
    local expected = self.expected[task.path]
    if not expected then fail("run %d has a task %s, which should not be", run.id, task.path) end
    if task.status == "done" and task.artifacts ~= expected then
      fail("the artifacts of %s (%s) should be\n%s  and are\n%s", spec, task.path, expected:sub(1, 2000),
        task.artifacts:sub(1, 2000))
    end
  end
  for name in pairs(promise.tasks) do
    local task = run.tasks[("%s/%d/%s"):format(run.flow, run.id, name)]
    if not task or task.status ~= "done" then
      fail("task %s of run %d was announced and is %s", name, run.id, task and task.status or "not there")
    end
  end
end

--- Looks at a store in `at` after something happened to the run of which `promise` is known.
--- The run, or nil where there is none.
function Witness:look(at, store, promise)
  local run = witness.read(at, store)
  if not run then
    if promise.run or promise.status then fail("run %s was announced, and there is none", tostring(promise.run)) end
    return nil
  end
  if promise.run and promise.run ~= run.id then
    fail("run %d was announced, and the newest is %d", promise.run, run.id)
  end
  if promise.status and promise.status ~= run.status then
    fail("run %d was announced as %s and is %s", run.id, promise.status, run.status)
  end
  if run.status == "running" then fail("run %d is shown as running, and is not", run.id) end
  self:check_tasks(run, promise)
  local status = support.decode(witness.ask(at, "status", run.id, "--json", "--store", store))
  local done = 0
  for _, step in ipairs(status.steps) do done = done + step.done end
  if done ~= run.said.done then
    fail("run %d has %d tasks in `runs` and %d in `status`", run.id, run.said.done, done)
  end
  verify(at, store)
  return run
end

--- A run that has ended as the one in peace.
function Witness:check_whole(run)
  if run.status ~= "done" then fail("run %d is %s", run.id, run.status) end
  if run.said.done ~= self.n_expected then
    fail("run %d has %d tasks and should have %d", run.id, run.said.done, self.n_expected)
  end
end

--- Resumes `run`, which look() gave, or runs where there was none, and compares.
function Witness:complete(at, store, run)
  local words = run and { "resume", "flow.lua", "--store", store } or self:run_words(store)
  local call = witness.call(at, words)
  if call.code ~= 0 then fail("luaflow %s: exit code %s\n%s", words[1], tostring(call.code), call.out .. call.err) end
  local last = self:look(at, store, witness.promises(call.out))
  if not last then fail "there is no run after one that is done" end
  self:check_whole(last)
  return last
end

return witness
