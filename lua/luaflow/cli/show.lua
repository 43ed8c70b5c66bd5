--- `luaflow show FLOW.lua`: the graph, drawn without running a step. Host only.
local cli = require "luaflow.cli"
local draw = require "luaflow.show"

local show = { summary = "Shows a flow's steps in topological order." }

function show.declare(parser)
  parser:argument("FLOW.lua", "the flow file"):argname "FLOW.lua":target "flow"
  parser:mutex(
    parser:flag("--dot", "a graph for Graphviz"),
    parser:flag("--json", "one JSON document")
  )
end

function show.run(args)
  local flow, message, code = cli.load_flow(args.flow)
  if flow == nil then return nil, message, code end
  local about = flow:describe()
  flow:close()
  cli.show((args.dot and draw.dot or args.json and draw.json or draw.text)(about))
  return cli.DONE
end

return show
