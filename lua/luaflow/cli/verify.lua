--- `luaflow verify`: reads all that is stored and says what is wrong with it. Host only.
local cli = require "luaflow.cli"
local json = require "luaflow.json"

local verify = { summary = "Reads every record and value of the store, and says what is damaged and whom it hurts." }

function verify.declare(parser) parser:flag("--json", "one JSON document") end

local SUM = { "runs", "tasks", "artifacts", "blobs", "bytes", "findings" }
local FINDING = { "run", "step", "task", "path", "artifact", "text" }

local CURE = [[
Restore the store from a copy; or make anew what is named: luaflow resume FLOW.lua STEP
--origin-run-id RUN. Nothing was changed.
]]

local function as_json(sum)
  local findings = {}
  for i, finding in ipairs(sum.findings) do
    local known = {}
    for _, field in ipairs(FINDING) do known[field] = finding[field] or json.null end
    findings[i] = json.ordered(FINDING, known)
  end
  return json.encode(json.ordered(SUM, {
    runs = sum.runs, tasks = sum.tasks, artifacts = sum.artifacts, blobs = sum.blobs, bytes = sum.bytes,
    findings = findings,
  })) .. "\n"
end

local function as_text(sum)
  local lines = {}
  for i, finding in ipairs(sum.findings) do lines[i] = finding.text end
  local n = #sum.findings
  lines[n + 1] = ("verified %s, %s, %s, %s: %s"):format(
    cli.count(sum.runs, "run"), cli.count(sum.tasks, "task"), cli.count(sum.artifacts, "artifact"),
    cli.size(sum.bytes), n == 0 and "all is well" or cli.count(n, "finding"))
  return table.concat(lines, "\n") .. "\n"
end

function verify.run(args)
  local directory = cli.store_directory(args)
  local sum, message, code = require("luaflow.core").verify(directory)
  if sum == nil and code == "notfound" then
    sum = { runs = 0, tasks = 0, artifacts = 0, blobs = 0, bytes = 0, findings = {} }
    if not args.json then cli.warn(("there is no store at %s, so nothing to verify\n"):format(directory)) end
  elseif sum == nil then
    return nil, message, code
  end
  cli.show(args.json and as_json(sum) or as_text(sum))
  if #sum.findings == 0 then return cli.DONE end
  if not args.json then cli.warn(CURE) end
  return cli.STORE
end

return verify
