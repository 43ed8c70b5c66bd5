--- `luaflow resume FLOW.lua [STEP]`: a new run that takes over what an earlier one has done,
--- and runs the rest. Host only.
local arguments = require "luaflow.cli.arguments"
local cli = require "luaflow.cli"
local follow = require "luaflow.cli.follow"

local resume = { summary = "Goes on with an earlier run: reuses the tasks that succeeded and runs the rest." }

local OPTIONS = arguments.options {
  { "origin-run-id", "N", "the run to go on with (default: the flow's latest)", convert = cli.whole_number(1, 2^53) },
  { "explain", nil, "say of every task why it was reused or runs" },
}

function resume.declare(parser)
  parser:argument("FLOW.lua", "the flow file, as it is now"):argname "FLOW.lua":target "flow"
  parser:argument("STEP", "run this step and all after it again, even where they succeeded"):args "?":argname "STEP"
  arguments.declare(parser, OPTIONS)
  parser:epilog "Parameters and the seed are those of the run that is resumed."
end

-- ---- from argv ------------------------------------------------------------------

-- Why an option that is not one of resume's is refused.
local function refuse_option(about, name)
  if name == "seed" or arguments.param(about.params, name) then
    return nil, ("option '--%s': %s come from the run that is resumed and cannot be changed"):format(name,
      name == "seed" and "parameters and the seed" or "parameters"), "usage"
  end
  return nil, ("unknown option '--%s'%s"):format(name, cli.suggestion(name, arguments.names(OPTIONS), "--")), "usage"
end

--- Reads the command line. What comes back has the flow loaded (`flow`, `about`) and the
--- `step` to run again, if any; or just `help`, a parser.
function resume.parse(argv, wants_help)
  if wants_help then return { help = cli.parser("resume", resume) } end
  local args, foreign, words = arguments.sort(argv, OPTIONS)
  if args == nil then return nil, foreign, "usage" end
  local ok, message, code = arguments.load_flow(args, words)
  if not ok then return nil, message, code end
  if foreign[1] then return refuse_option(args.about, foreign[1].name) end
  args.step = arguments.take_word(words)
  local unexpected = arguments.take_word(words)
  if unexpected then return nil, ("unexpected argument '%s'"):format(unexpected), "usage" end
  if args.step then
    ok, message, code = cli.check_step(args.about, args.step)
    if not ok then return nil, message, code end
  end
  return args
end

-- ---- what would run -------------------------------------------------------------

-- The run that would be resumed.
local function find_origin(rt, args)
  local id = args.origin_run_id
  if id == nil then
    local ids, message, code = rt:runs(args.about.name, nil, nil, 1)
    if ids == nil then return nil, message, code end
    id = ids[1]
    if id == nil then return nil, ("there is no run of flow %s to resume"):format(args.about.name), "notfound" end
  end
  local run, message, code = require("luaflow.pathspec").run(rt, ("%d"):format(id))
  if run == nil then return nil, message, code end
  if run.flow ~= args.about.name then
    return nil, ("run %d is of flow %s, not of %s"):format(id, run.flow, args.about.name), "usage"
  end
  if run.status == "running" then
    return nil, ("run %d is still running; it can be resumed when it has ended"):format(id), "usage"
  end
  return run
end

-- The steps that run again with `name`: itself and all after it.
local function steps_from(about, name)
  local after, found = {}, {}
  for _, step in ipairs(about.steps) do after[step.name] = step end
  local function visit(step)
    if found[step.name] then return end
    found[step.name] = true
    for _, to in ipairs(step.next) do visit(after[to]) end
  end
  visit(after[name])
  return found
end

-- How many tasks of each step would be reused: those that were done, but for the steps that
-- are to run again.
local function count_reused(about, origin, step_again)
  local again = step_again and steps_from(about, step_again) or {}
  local reused = {}
  for _, step in ipairs(origin.steps) do
    if step.done > 0 and not again[step.name] then reused[step.name] = step.done end
  end
  return reused
end

local function dry_run(args)
  return cli.with_store(args, function(rt)
    local origin, message, code = find_origin(rt, args)
    if origin == nil then return nil, message, code end
    local values
    values, message, code = rt:part(origin.id, "params")
    if values == nil then return nil, message, code end
    return require("luaflow.cli.dry_run").show(args, values, {
      id = origin.id, reused = count_reused(args.about, origin, args.step),
    })
  end)
end

function resume.run(args)
  local status, message, code
  if args.dry_run then
    status, message, code = dry_run(args)
  else
    status, message, code = follow.run(args, false, function(rt, options)
      options.origin, options.step = args.origin_run_id, args.step
      return rt:resume(args.flow, options)
    end)
  end
  args.flow:close()
  return status, message, code
end

return resume
