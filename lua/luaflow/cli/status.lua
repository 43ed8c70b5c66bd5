--- `luaflow status RUN`: one run, step by step. Host only.
local cli = require "luaflow.cli"
local console = require "luaflow.console"
local json = require "luaflow.json"
local pathspec = require "luaflow.pathspec"
local process = require "luaflow.process"
local runs = require "luaflow.cli.runs"

local status = { summary = "Shows one run: its steps with their tasks by state, and its failures." }

function status.declare(parser)
  parser:argument("RUN", "the run: its id, Flow/run, or last"):argname "RUN":target "run"
  parser:flag("--json", "one JSON document")
end

local STEP = { "name", "tasks", "done", "failed", "reused" }
local FAILURE = { "pathspec", "message", "traceback" }

-- A step's tasks that are there, in whatever state.
local function tasks_of(step) return math.max(step.started, step.done + step.failed) end

local function failures_of(rt, run)
  local numbers, message, code = pathspec.all(function(after, max)
    return rt:tasks(run.id, nil, true, after, max)
  end)
  if numbers == nil then return nil, message, code end
  local failures = {}
  for i, number in ipairs(numbers) do
    local task
    task, message, code = rt:task(run.id, number)
    if task == nil then return nil, message, code end
    failures[i] = json.ordered(FAILURE, {
      pathspec = pathspec.of(run, task.step, task.task),
      message = task.message or "",
      traceback = task.traceback or "",
    })
  end
  return failures
end

local function as_json(run, failures)
  local document, steps = runs.document(run), {}
  for i, step in ipairs(run.steps) do
    steps[i] = json.ordered(STEP, {
      name = step.name, tasks = tasks_of(step), done = step.done, failed = step.failed, reused = step.reused,
    })
  end
  document.steps, document.failures = steps, failures
  return json.encode(document) .. "\n"
end

local function steps_text(run)
  local rows = { { "STEP", "TASKS", "DONE", "RUNNING", "FAILED", "REUSED" } }
  for _, step in ipairs(run.steps) do
    local tasks = tasks_of(step)
    local running = run.status == "running" and tasks - step.done - step.failed or 0
    rows[#rows + 1] = { step.name }
    for _, n in ipairs { tasks, step.done, running, step.failed, step.reused } do
      table.insert(rows[#rows], ("%d"):format(n))
    end
  end
  return runs.table(rows)
end

local function as_text(run, failures)
  local out = {
    ("Run %s/%d: %s\n"):format(run.flow, run.id, run.status),
    ("Started %s, took %s\n"):format(runs.time(run.created_at), runs.duration(run)),
  }
  if run.origin_run_id then out[#out + 1] = ("Resumed from run %d\n"):format(run.origin_run_id) end
  if #run.tags > 0 then out[#out + 1] = "Tags: " .. table.concat(run.tags, ", ") .. "\n" end
  if run.problem then out[#out + 1] = "Problem: " .. run.problem .. "\n" end
  out[#out + 1] = "\n" .. steps_text(run)
  for _, failure in ipairs(failures) do
    local text = failure.message:gsub("\n+$", "") .. "\n" .. failure.traceback:gsub("\n+$", "")
    out[#out + 1] = ("\n%s failed:\n    %s\n"):format(failure.pathspec, (text:gsub("\n+$", ""):gsub("\n", "\n    ")))
  end
  return table.concat(out)
end

function status.run(args)
  return cli.with_store(args, function(rt)
    local run, message, code = pathspec.run(rt, args.run)
    if run == nil then return nil, message, code end
    local failures
    failures, message, code = failures_of(rt, run)
    if failures == nil then return nil, message, code end
    if args.json then
      cli.write(as_json(run, failures))
    else
      local text = as_text(run, failures)
      cli.write(process.isatty(1) and console.visible(text) or text)
    end
    return cli.DONE
  end)
end

return status
