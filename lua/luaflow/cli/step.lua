--- `luaflow step FLOW.lua STEP --from RUN`: runs one step alone on inputs that an earlier run
--- has stored, and stores nothing. For writing a step: run, look, change, run. Host only.
local cli = require "luaflow.cli"
local console = require "luaflow.console"
local dump = require "luaflow.cli.dump"
local pathspec = require "luaflow.pathspec"
local process = require "luaflow.process"
local values = require "luaflow.cli.values"
local view = require "luaflow.cli.view"

local step = { summary = "Runs one step alone on the stored inputs of an earlier run, and stores nothing." }

function step.declare(parser)
  parser:argument("FLOW.lua", "the flow file, as it is now"):argname "FLOW.lua":target "path"
  parser:argument("STEP", "the step to run"):argname "STEP":target "step"
  parser:option("--from", "a run, for the inputs of its first task of STEP, or one task of it: Flow/run/step/task")
    :argname "RUN":count(1)
  parser:flag("--json", "what the step leaves as one JSON document; what it prints goes to stderr")
  parser:flag("--raw", "send control characters of what the step prints to the terminal as they are")
end

-- Where the inputs come from: the run, and the number of the task if one is named.
local function find_inputs(rt, args)
  local place, message, code = pathspec.find(rt, args.from)
  if place == nil then return nil, message, code end
  local run = place.run
  if run.flow ~= args.about.name then
    return nil, ("run %d is of flow %s, not of %s"):format(run.id, run.flow, args.about.name), "usage"
  end
  if place.step and place.step ~= args.step then
    return nil, ("%s is about step %s, not %s"):format(args.from, place.step, args.step), "usage"
  end
  if place.task then
    local task
    task, message, code = pathspec.task(rt, place)
    if task == nil then return nil, message, code end
  end
  return run, place.task
end

-- What the step left, in dump's form.
local function show_task(args, run, result)
  local artifacts = {}
  for i, artifact in ipairs(result.artifacts) do
    local text, message, code = values.text(artifact.value_bytes, args.json and math.huge or dump.MAX_TEXT, args.json)
    if text == nil then return nil, message, code end
    artifacts[i] = { name = artifact.name, text = text }
  end
  local shown = {
    pathspec = pathspec.of(run, result.step, result.task),
    path = result.path,
    status = result.status,
    message = result.message,
    traceback = result.traceback,
    artifacts = artifacts,
  }
  if args.json then
    cli.show('{"tasks":[' .. dump.json(shown) .. "]}\n")
  else
    cli.show(dump.text(shown))
    if result.choice then cli.show(("It would go on with step %s.\n"):format(result.choice)) end
    if result.width then cli.show(("It would start %s.\n"):format(console.plural(result.width, "task"))) end
  end
  return cli.DONE
end

-- Tells of a failure as a run does.
local function show_failure(shown, run, result)
  shown:event {
    event = "task_failed", run = run.id, step = result.step, task = result.task, path = result.path,
    time = process.now(), message = result.message, traceback = result.traceback, input = result.input,
  }
end

local function try(rt, args)
  local run, task, code = find_inputs(rt, args)
  if run == nil then return nil, task, code end
  local shown = view.new(args, {
    make = console.new, fd = args.json and 2 or 1, has_status = false, is_quiet = true, logs = false,
  })
  local result, message
  result, message, code = rt:try(args.flow, args.step, {
    run = run.id,
    task = task,
    on_event = function(event)
      if event.event ~= "line" then return end
      shown:event(event)
      shown:flush()
    end,
  })
  if result == nil then return nil, message, code end
  if result.status == "failed" then show_failure(shown, run, result) end
  shown:close()
  local status
  status, message, code = show_task(args, run, result)
  if status == nil then return nil, message, code end
  if shown.problem then return nil, "cannot write what the step printed: " .. shown.problem end
  return result.status == "failed" and cli.RUN_FAILED or cli.DONE
end

function step.run(args)
  local message, code, ok, status
  args.flow, message, code = cli.load_flow(args.path)
  if args.flow == nil then return nil, message, code end
  args.about = args.flow:describe()
  ok, message, code = cli.check_step(args.about, args.step)
  if not ok then return nil, message, code end
  status, message, code = cli.with_store(args, function(rt) return try(rt, args) end)
  args.flow:close()
  return status, message, code
end

return step
