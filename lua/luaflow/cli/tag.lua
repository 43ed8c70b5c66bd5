--- `luaflow tag add|remove|list RUN [TAG…]`. Host only.
local cli = require "luaflow.cli"
local pathspec = require "luaflow.pathspec"

local tag = { summary = "Adds, removes or lists tags of a run." }

function tag.declare(parser)
  parser:argument("action", "what to do"):choices { "add", "remove", "list" }
  parser:argument("RUN", "the run: its id, Flow/run, or last"):argname "RUN":target "run"
  parser:argument("TAG", "tags to add or remove"):args "*":argname "TAG":target "tags"
  parser:flag("--json", "list: one JSON document")
end

local function list(args, run)
  if args.json then
    local json = require "luaflow.json"
    cli.show(json.encode(json.ordered({ "run", "tags" }, { run = run.id, tags = run.tags })) .. "\n")
  elseif #run.tags > 0 then
    cli.show(table.concat(run.tags, "\n") .. "\n")
  end
  return cli.DONE
end

function tag.run(args)
  local is_list = args.action == "list"
  if is_list and #args.tags > 0 then return nil, "'tag list' takes a run and no tags", "usage" end
  if not is_list and #args.tags == 0 then
    return nil, ("'tag %s' needs at least one tag"):format(args.action), "usage"
  end
  return cli.with_store(args, function(rt)
    local run, message, code = pathspec.run(rt, args.run)
    if run == nil then return nil, message, code end
    if is_list then return list(args, run) end
    local is_add = args.action == "add"
    local ok
    ok, message, code = rt:tag(run.id, is_add and args.tags or {}, is_add and {} or args.tags)
    if not ok then return nil, message, code end
    return cli.DONE
  end)
end

return tag
