--- What a store remembers, as objects: flows, runs, steps, tasks and artifacts. Host only.
---
--- A field is read from the store when it is asked for; what may take long is a call. What is
--- not there is nil, message, code where an object is asked for, and nil as a field. A store that
--- cannot be read raises an error where there is no second value to tell it with.
---
--- The metatable of an object has `fields` and `methods`, by name, for whoever completes them.
local data = require "luaflow.client.data"
local pathspec = require "luaflow.pathspec"
local reading = require "luaflow.client.reading"
local stores = require "luaflow.stores"

local client = {}

local PAGE = 4096 -- runs asked for at a time, at most

-- ---- classes --------------------------------------------------------------------

--- Fields give a value, or nil and, where the store is to blame, a message.
local function class()
  local fields, methods = {}, {}
  local mt = { fields = fields, methods = methods }
  function mt.__index(object, key)
    local read = fields[key]
    if read == nil then return methods[key] end
    local value, message = read(object)
    if value == nil and message ~= nil then error(message, 2) end
    return value
  end
  -- Two objects of the same thing are equal.
  function mt.__eq(a, b) return a._store.place == b._store.place and a.pathspec == b.pathspec end
  return mt, fields, methods
end

local Flow, flow, flow_methods = class()
local Run, run, run_methods = class()
local Step, step, step_methods = class()
local Task, task, task_methods = class()
local Artifact, artifact = class()

local function new_run(store, id, flow_name)
  return setmetatable({ _store = store, _live = stores.live(store, id), id = id, flow_name = flow_name }, Run)
end

local function new_step(of, name) return setmetatable({ _store = of._store, run = of, id = name }, Step) end

local function new_task(of, number, step_name)
  return setmetatable({ _store = of._store, run = of, id = number, step_name = step_name }, Task)
end

--- The run of a handle that luaflow.live has taken.
function client.of_live(live, flow_name) return new_run(live.store, live.handle:id(), flow_name) end

-- ---- what several of them have ---------------------------------------------------

local function task_list(of, step_name)
  local numbers, message, code = reading.numbers(of, step_name)
  if numbers == nil then return nil, message, code end
  for i, number in ipairs(numbers) do numbers[i] = new_task(of, number, step_name) end
  return numbers
end

local function first_task(of, step_name, failed_only)
  local numbers, message, code = of._store.runtime:tasks(of.id, step_name, failed_only, 0, 1)
  if numbers == nil then return nil, message, code end
  return numbers[1] and new_task(of, numbers[1], step_name)
end

local function failure_of(of)
  local info, message = reading.task(of)
  if info == nil then return nil, message end
  return info.failed and { message = info.message, traceback = info.traceback } or nil
end

-- The failure of the first task that failed.
local function first_failure(of, step_name)
  local failed, message = first_task(of, step_name, true)
  if failed == nil then return nil, message end
  return failure_of(failed)
end

-- What a status, or nil and a message, says of two fields.
local function has_ended(status, message)
  if status == nil then return nil, message end
  return status ~= "running"
end

local function is_done(status, message)
  if status == nil then return nil, message end
  return status == "done"
end

-- Fields that are just as a record has them: { [field] = its name there }.
local function add_fields(fields, read, names)
  for name, of_record in pairs(names) do
    fields[name] = function(object)
      local info, message = read(object)
      return info and info[of_record], message
    end
  end
end

-- ---- flows ----------------------------------------------------------------------

--- Gives the numbers of a flow's runs one by one, newest first, reading few where few are asked
--- for.
local function run_numbers(of, tag)
  local page, at, size, before = {}, 0, 8, nil
  return function()
    at = at + 1
    if page[at] == nil then
      if before ~= nil and #page < size then return nil end
      size = math.min(size * 2, PAGE)
      local message
      page, message = of._store.runtime:runs(of.id, tag, before, size)
      if page == nil then error(message, 0) end
      at = 1
    end
    before = page[at]
    return before
  end
end

function flow.name(self) return self.id end
function flow.pathspec(self) return self.id end

function flow.latest_run(self)
  local ids, message = self._store.runtime:runs(self.id, nil, nil, 1)
  if ids == nil then return nil, message end
  return ids[1] and new_run(self._store, ids[1], self.id)
end

function flow.latest_successful_run(self)
  for id in run_numbers(self) do
    local found = new_run(self._store, id, self.id)
    if found.successful then return found end
  end
end

function flow.created_at(self)
  local first
  for id in run_numbers(self) do first = id end
  return first and new_run(self._store, first, self.id).created_at
end

function flow.finished_at(self)
  local latest, message = flow.latest_run(self)
  if latest == nil then return nil, message end
  return latest.finished_at
end

--- The flow's runs, newest first; with a tag, those that have it.
--- @return function iterator
function flow_methods:runs(tag)
  if tag ~= nil and type(tag) ~= "string" then error("a tag is a string: flow:runs(\"nightly\")", 2) end
  local next_number = run_numbers(self, tag)
  return function()
    local id = next_number()
    return id and new_run(self._store, id, self.id)
  end
end

--- @return table? run, string? message, string? code
function flow_methods:run(id)
  local info, message, code = pathspec.run(self._store.runtime, ("%s/%s"):format(self.id, id))
  if info == nil then return nil, message, code end
  return new_run(self._store, info.id, info.flow)
end

function Flow.__tostring(self) return ("<flow %s>"):format(self.id) end

-- ---- runs -----------------------------------------------------------------------

function run.pathspec(self) return ("%s/%d"):format(self.flow_name, self.id) end
function run.flow(self) return setmetatable({ _store = self._store, id = self.flow_name }, Flow) end

-- Whoever hears the events has heard the last one when the status changes; where nobody does,
-- nobody needs to deliver for it to change.
function run.status(self)
  local live = self._live
  local status = live and live:status()
  if status and (status ~= "running" or live:is_heard()) then return status end
  local info, message = reading.run(self)
  return info and info.status, message
end

function run.finished(self) return has_ended(run.status(self)) end
function run.successful(self) return is_done(run.status(self)) end

add_fields(run, reading.run, {
  created_at = "created_at", finished_at = "finished_at", origin_run_id = "origin_run_id",
  tags = "tags", seed = "seed", counts = "tasks",
})

function run.code(self) return self._store.runtime:part(self.id, "source") end

-- They never change.
function run.params(self)
  local params, message = self._store.runtime:part(self.id, "params")
  rawset(self, "params", params)
  return params, message
end

function run.end_task(self)
  local info, message = reading.run(self)
  if info == nil then return nil, message end
  return first_task(self, info.steps[#info.steps].name)
end

-- The artifacts of the last task that succeeded.
function run.data(self)
  if rawget(self, "_last") == nil then
    local info, message = reading.run(self)
    if info == nil then return nil, message end
    local number
    number, message = reading.last_successful(self, info)
    if message then return nil, message end
    if number == nil then return data.of_run(self) end
    local last = new_task(self, number)
    if info.status == "running" then return data.of_task(last) end
    rawset(self, "_last", last)
  end
  return data.of_task(self._last)
end

function run.stdout(self) return reading.printed(self, nil, "stdout") end
function run.stderr(self) return reading.printed(self, nil, "stderr") end

function run.exception(self)
  local info, message = reading.run(self)
  if info == nil then return nil, message end
  local problem = self._live and self._live:problem() or info.problem
  if problem then return { message = problem } end
  return first_failure(self)
end

--- The steps of its graph, from the first to the last.
--- @return table? steps, string? message, string? code
function run_methods:steps()
  local info, message, code = reading.run(self)
  if info == nil then return nil, message, code end
  local list = {}
  for i, found in ipairs(info.steps) do list[i] = new_step(self, found.name) end
  return list
end

--- @return table? step, string? message, string? code
function run_methods:step(name)
  local info, message, code = reading.run(self)
  if info == nil then return nil, message, code end
  local ok
  ok, message, code = pathspec.check_step(info, name)
  if not ok then return nil, message, code end
  return new_step(self, name)
end

--- Its finished tasks, in order.
--- @return table? tasks, string? message, string? code
function run_methods:tasks() return task_list(self) end

--- One of its finished tasks.
--- @return table? task, string? message, string? code
function run_methods:task(id)
  if type(id) ~= "number" then error("a task is named by its number: run:task(2)", 2) end
  local found = new_task(self, id)
  local info, message, code = reading.task(found)
  if info == nil then return nil, message, code end
  return found
end

local function change_tags(self, add, remove)
  return self._store.runtime:tag(self.id, add, remove)
end

--- @return true?, string? message, string? code
function run_methods:add_tag(...) return change_tags(self, { ... }, nil) end

--- @return true?, string? message, string? code
function run_methods:remove_tag(...) return change_tags(self, nil, { ... }) end

local function not_live(self, verb)
  return nil, ("run %d was not started here, or has ended: it cannot be %s"):format(self.id, verb), "usage"
end

-- Blames who called the method for what are no seconds.
local function check_seconds(verb, seconds)
  if seconds == nil or type(seconds) == "number" and seconds == seconds then return end
  local kind = type(seconds) == "number" and "nan" or "a " .. type(seconds)
  error(("run:%s takes a number of seconds, not %s"):format(verb, kind), 3)
end

--- Delivers waiting events of this run and others in its store, for at most so many seconds
--- (default: 0.01). Never waits for any.
--- @return number delivered, number lost
function run_methods:poll(seconds)
  check_seconds("poll", seconds)
  local store = self._live and self._live.store or self._store
  return require("luaflow.live").poll(store, seconds or 0.01)
end

--- Delivers events until the run has ended, for at most so many seconds; without end for nil.
--- @return boolean? ended, string? message, string? code
function run_methods:wait(seconds)
  check_seconds("wait", seconds)
  if self._live then return self._live:wait(seconds) end
  if self.finished then return true end
  return not_live(self, "waited for")
end

--- Starts none of its tasks any more; those that run are waited for. It ends as interrupted.
--- @return true?, string? message, string? code
function run_methods:cancel()
  if self._live == nil then return not_live(self, "cancelled") end
  self._live:cancel()
  return true
end

--- `listener` hears the run's events from here on, one table each, while they are delivered. What
--- it raises comes out of the poll or wait that delivers, be that another run's of the same store.
--- @return table? run, string? message, string? code
function run_methods:on(listener)
  if type(listener) ~= "function" then
    error(("run:on needs a function, not a %s"):format(type(listener)), 2)
  end
  if self._live == nil then return not_live(self, "listened to") end
  self._live:listen(listener)
  return self
end

--- A descriptor that is readable when events wait to be delivered. Runs of a store share it.
--- @return number? fd, string? message, string? code
function run_methods:fd()
  if self._live == nil then return not_live(self, "waited for") end
  return self._live:fd()
end

function Run.__tostring(self)
  local status, message = run.status(self)
  return ("<run %s %s>"):format(run.pathspec(self), status or message)
end

-- ---- steps ----------------------------------------------------------------------

function step.name(self) return self.id end
function step.pathspec(self) return ("%s/%s"):format(self.run.pathspec, self.id) end
function step.tags(self) return self.run.tags end
function step.code(self) return self.run.code end
function step.origin_run_id(self) return self.run.origin_run_id end

-- How many of its tasks are in which state.
function step.counts(self)
  local info, message = reading.run(self.run)
  if info == nil then return nil, message end
  for _, found in ipairs(info.steps) do
    if found.name == self.id then
      return { started = found.started, done = found.done, failed = found.failed, reused = found.reused }
    end
  end
end

-- As far as one can tell: of a foreach that goes on, more tasks may come.
function step.status(self)
  local counts, message = step.counts(self)
  if counts == nil then return nil, message end
  if counts.failed > 0 then return "failed" end
  if counts.started > 0 and counts.done == counts.started then return "done" end
  local status
  status, message = run.status(self.run)
  return status == "failed" and "interrupted" or status, message
end

function step.finished(self) return has_ended(step.status(self)) end
function step.successful(self) return is_done(step.status(self)) end

-- The first of its finished tasks.
function step.task(self) return first_task(self.run, self.id) end

function step.created_at(self)
  local first, message = step.task(self)
  if first == nil then return nil, message end
  return first.created_at
end

-- That of the task which ended last.
function step.finished_at(self)
  local ended, message = step.finished(self)
  if not ended then return nil, message end
  local latest
  for _, found in ipairs(self:tasks()) do latest = math.max(latest or 0, found.finished_at) end
  return latest
end

-- The artifacts of its only task.
function step.data(self)
  local numbers, message = self._store.runtime:tasks(self.run.id, self.id, false, 0, 2)
  if numbers == nil then return nil, message end
  if #numbers > 1 then
    return nil, ("step %s has several tasks; say which, as in step:tasks()[1].data"):format(self.pathspec)
  end
  return numbers[1] and data.of_task(new_task(self.run, numbers[1], self.id))
end

function step.stdout(self) return reading.printed(self.run, self.id, "stdout") end
function step.stderr(self) return reading.printed(self.run, self.id, "stderr") end
function step.exception(self) return first_failure(self.run, self.id) end

--- Its finished tasks, in order.
--- @return table? tasks, string? message, string? code
function step_methods:tasks() return task_list(self.run, self.id) end

function Step.__tostring(self) return ("<step %s>"):format(self.pathspec) end

-- ---- tasks ----------------------------------------------------------------------

function task.pathspec(self) return ("%s/%s/%d"):format(self.run.pathspec, self.step_name, self.id) end
function task.tags(self) return self.run.tags end
function task.code(self) return self.run.code end

function task.step_name(self)
  local info, message = reading.task(self)
  if info == nil then return nil, message end
  rawset(self, "step_name", info.step)
  return info.step
end

function task.step(self) return new_step(self.run, self.step_name) end

add_fields(task, reading.task, {
  path = "path", attempt = "attempt", worker = "worker", created_at = "started_at",
  finished_at = "finished_at", origin_run_id = "origin_run", origin_task_id = "origin_task",
})

-- That of the innermost foreach.
function task.index(self)
  local info, message = reading.task(self)
  if info == nil then return nil, message end
  return tonumber(info.path:match(".*%[(%d+)%]"))
end

function task.status(self)
  local info, message = reading.task(self)
  if info == nil then return nil, message end
  return info.failed and "failed" or "done"
end

function task.finished() return true end
function task.successful(self) return is_done(task.status(self)) end

function task.exception(self) return failure_of(self) end
function task.data(self) return data.of_task(self) end

function task.stdout(self) return reading.printed_by(self, "stdout") end
function task.stderr(self) return reading.printed_by(self, "stderr") end

local function new_artifact(of, found)
  return setmetatable({
    _store = of._store, task = of, id = found.name, size = found.size, inherited = found.inherited,
  }, Artifact)
end

--- All it passes on, by name.
--- @return table? artifacts, string? message, string? code
function task_methods:artifacts()
  local info, message, code = reading.task(self)
  if info == nil then return nil, message, code end
  local list = {}
  for i, found in ipairs(info.artifacts) do list[i] = new_artifact(self, found) end
  return list
end

--- @return table? artifact, string? message, string? code
function task_methods:artifact(name)
  local info, message, code = reading.task(self)
  if info == nil then return nil, message, code end
  for _, found in ipairs(info.artifacts) do
    if found.name == name then return new_artifact(self, found) end
  end
  return pathspec.no_artifact({ flow = self.run.flow_name, id = self.run.id }, info, name)
end

--- The tasks whose artifacts it started with: one, or a join's inputs, in their order.
--- @return table? tasks, string? message, string? code
function task_methods:parent_tasks()
  local info, message, code = reading.task(self)
  if info == nil then return nil, message, code end
  local list = {}
  for i, number in ipairs(info.parents) do list[i] = new_task(self.run, number) end
  return list
end

--- The attempts that failed and were followed by another: { worker =, started_at =,
--- finished_at =, message =, traceback = }.
--- @return table? attempts, string? message, string? code
function task_methods:attempts()
  local info, message, code = reading.task(self)
  if info == nil then return nil, message, code end
  return info.attempts
end

function Task.__tostring(self)
  local info, message = reading.task(self)
  if info == nil then return ("<task %d of run %d: %s>"):format(self.id, self.run.id, message) end
  return ("<task %s %s>"):format(task.pathspec(self), info.failed and "failed" or "done")
end

-- ---- artifacts ------------------------------------------------------------------

function artifact.name(self) return self.id end
function artifact.pathspec(self) return ("%s/%s"):format(self.task.pathspec, self.id) end
function artifact.data(self) return self.task.data[self.id] end
function artifact.created_at(self) return self.task.created_at end
function artifact.finished_at(self) return self.task.finished_at end

function Artifact.__tostring(self) return ("<artifact %s>"):format(self.pathspec) end

-- ---- by name --------------------------------------------------------------------

-- Opens the store that is meant and finds `text` in it.
local function find(text, finder)
  local store, message, code = stores.open {}
  if store == nil then return nil, message, code end
  local found, rest, kind = finder(store.runtime, text)
  if found == nil then return nil, rest, kind end
  return store, found, rest
end

local function check(name, what, example)
  if type(name) ~= "string" then
    error(("luaflow.%s needs a name such as %q, not a %s"):format(what, example, type(name)), 3)
  end
end

local function run_of(store, info) return new_run(store, info.id, info.flow) end

--- @return table? flow, string? message, string? code
function client.Flow(name)
  check(name, "Flow", "ForeachFlow")
  local store, ids, code = find(name, function(runtime) return runtime:runs(name, nil, nil, 1) end)
  if store == nil then return nil, ids, code end
  if ids[1] == nil then return nil, ("there is no run of flow %s in %s"):format(name, store.directory), "notfound" end
  return setmetatable({ _store = store, id = name }, Flow)
end

--- `name` is a run's number, `Flow/number`, `Flow/last` or `last`.
--- @return table? run, string? message, string? code
function client.Run(name)
  if type(name) == "number" then name = ("%.14g"):format(name) end
  check(name, "Run", "ForeachFlow/3")
  local store, info, code = find(name, pathspec.run)
  if store == nil then return nil, info, code end
  return run_of(store, info)
end

--- @return table? step, string? message, string? code
function client.Step(name)
  check(name, "Step", "ForeachFlow/3/a")
  local store, place, code = find(name, pathspec.find)
  if store == nil then return nil, place, code end
  if place.step == nil or place.task then
    return nil, ("'%s' names no step: write Flow/run/step"):format(name), "usage"
  end
  return new_step(run_of(store, place.run), place.step)
end

--- @return table? task, string? message, string? code
function client.Task(name)
  check(name, "Task", "ForeachFlow/3/a/2")
  local store, place, code = find(name, pathspec.find)
  if store == nil then return nil, place, code end
  if place.task == nil then return nil, ("'%s' names no task: write Flow/run/step/task"):format(name), "usage" end
  local info, message
  info, message, code = pathspec.task(store.runtime, place)
  if info == nil then return nil, message, code end
  return new_task(run_of(store, place.run), place.task, place.step)
end

--- @return table? artifact, string? message, string? code
function client.Artifact(name)
  check(name, "Artifact", "ForeachFlow/3/a/2/title")
  local store, place, rest = find(name, pathspec.find_artifact)
  if store == nil then return nil, place, rest end
  local info, message, code = pathspec.one_task(store.runtime, place)
  if info == nil then return nil, message, code end
  return new_task(run_of(store, place.run), info.task, info.step):artifact(rest)
end

return client
