--- `luaflow status RUN`: one run, step by step. Host only.
local cli = require "luaflow.cli"
local json = require "luaflow.json"
local pathspec = require "luaflow.pathspec"
local runs = require "luaflow.cli.runs"

local status = { summary = "Shows one run: its steps with their tasks by state, and its failures." }

function status.declare(parser)
  parser:argument("RUN", "the run: its id, Flow/run, or last"):argname "RUN":target "run"
  parser:flag("--json", "one JSON document")
end

local STEP = { "name", "tasks", "done", "failed", "reused" }
local FAILURE = { "pathspec", "path", "message", "traceback", "attempts" }
local ATTEMPT = { "message", "traceback" }

-- A step's tasks that are there, in whatever state.
local function tasks_of(step) return math.max(step.started, step.done + step.failed) end

-- What went wrong in the attempts before the last; nil when there were none.
local function attempts_of(task)
  local attempts = {}
  for i, attempt in ipairs(task.attempts) do
    attempts[i] = json.ordered(ATTEMPT, { message = attempt.message or "", traceback = attempt.traceback or "" })
  end
  return #attempts > 0 and attempts or nil
end

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
      path = task.path,
      message = task.message or "",
      traceback = task.traceback or "",
      attempts = attempts_of(task),
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

-- Lost are tasks that were begun in a run that is over, and never ended.
local COLUMNS = { "TASKS", "DONE", "RUNNING", "FAILED", "REUSED", "LOST" }

local function counts_of(step, is_running)
  local tasks = tasks_of(step)
  local open = tasks - step.done - step.failed
  return {
    TASKS = tasks, DONE = step.done, FAILED = step.failed, REUSED = step.reused,
    RUNNING = is_running and open or 0, LOST = is_running and 0 or open,
  }
end

local function steps_text(run)
  local counts, has_lost = {}, false
  for i, step in ipairs(run.steps) do
    counts[i] = counts_of(step, run.status == "running")
    has_lost = has_lost or counts[i].LOST > 0
  end
  local rows = { { "STEP", unpack(COLUMNS, 1, has_lost and #COLUMNS or #COLUMNS - 1) } }
  for i, step in ipairs(run.steps) do
    local row = { step.name }
    for column = 2, #rows[1] do row[column] = ("%d"):format(counts[i][rows[1][column]]) end
    rows[i + 1] = row
  end
  return runs.table(rows)
end

-- A failed task: each attempt's message, the last one's with its traceback.
local function failure_text(failure)
  local place = failure.path:find("[%[#]") and (" (%s)"):format(failure.path) or ""
  local lines = { failure.pathspec .. place .. " failed:" }
  local function put(text)
    text = text:gsub("\n+$", "")
    if text ~= "" then lines[#lines + 1] = "    " .. text:gsub("\n", "\n    ") end
  end
  for i, attempt in ipairs(failure.attempts or {}) do put(("attempt %d: %s"):format(i, attempt.message)) end
  put(failure.message)
  put(failure.traceback)
  return table.concat(lines, "\n") .. "\n"
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
  for _, failure in ipairs(failures) do out[#out + 1] = "\n" .. failure_text(failure) end
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
      cli.show(as_text(run, failures))
    end
    return cli.DONE
  end)
end

return status
