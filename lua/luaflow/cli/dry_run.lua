--- What `--dry-run` shows: what would run, on which parameters. Host only.
local cli = require "luaflow.cli"
local json = require "luaflow.json"

local dry_run = {}

local DOCUMENT = { "flow", "origin_run_id", "params", "steps", "reused" }

local function as_json(about, values, names, origin)
  local steps, step_names = {}, {}
  for i, step in ipairs(about.steps) do steps[i], step_names[i] = step.name, step.name end
  return json.encode(json.ordered(DOCUMENT, {
    flow = about.name,
    origin_run_id = origin and origin.id,
    params = json.ordered(names, values),
    steps = steps,
    reused = origin and json.ordered(step_names, origin.reused),
  })) .. "\n"
end

local function as_text(about, path, values, names, origin)
  local lines = {
    origin and ("Would resume run %d of flow %s (%s)."):format(origin.id, about.name, path)
      or ("Would run flow %s (%s)."):format(about.name, path),
  }
  if #names > 0 then lines[#lines + 1] = "Parameters:" end
  for _, name in ipairs(names) do lines[#lines + 1] = ("    %s = %s"):format(name, json.encode(values[name])) end
  lines[#lines + 1] = "Steps:"
  for _, step in ipairs(about.steps) do
    local reused = origin and origin.reused[step.name]
    local note = reused and (" (%s reused)"):format(require("luaflow.console").plural(reused, "task")) or ""
    lines[#lines + 1] = "    " .. step.name .. note
  end
  return table.concat(lines, "\n") .. "\n"
end

--- Shows the flow of `args` with the values of its parameters; of a run to be resumed,
--- `origin` is { id =, reused = { [step] = number of tasks } }.
function dry_run.show(args, values, origin)
  local names = {}
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names)
  cli.show(args.json and as_json(args.about, values, names, origin)
    or as_text(args.about, args.path, values, names, origin))
  return cli.DONE
end

return dry_run
