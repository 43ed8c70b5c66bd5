--- `luaflow check FLOW.lua`: is the graph right? Host only.
local cli = require "luaflow.cli"

local check = { summary = "Checks a flow's graph without running a step." }

function check.declare(parser)
  parser:argument("FLOW.lua", "the flow file"):argname "FLOW.lua":target "flow"
  parser:flag("--json", "one JSON document")
end

function check.run(args)
  local flow, message, code = cli.load_flow(args.flow)
  if flow == nil and code ~= "flow" then return nil, message, code end
  local problems, text = {}, message and message .. "\n"
  if flow then
    local about = flow:describe()
    text = ("%s: flow %s is valid, %d step%s\n"):format(args.flow, about.name, #about.steps,
      #about.steps == 1 and "" or "s")
    flow:close()
  else
    for problem in message:gmatch("[^\n]+") do problems[#problems + 1] = problem end
  end
  if args.json then
    local json = require "luaflow.json"
    text = json.encode(json.ordered({ "file", "problems" }, { file = args.flow, problems = problems })) .. "\n"
  end
  cli.show(text)
  return flow and cli.DONE or cli.USAGE
end

return check
