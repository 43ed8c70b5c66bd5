--- `luaflow runs [FLOW]`: the runs of a store, newest first. Host only. Its tables and
--- words are used by `status` too.
local cli = require "luaflow.cli"
local json = require "luaflow.json"
local process = require "luaflow.process"

local runs = { summary = "Lists runs, newest first." }

local PAGE = 256

function runs.declare(parser)
  parser:argument("FLOW", "only runs of this flow"):args "?":argname "FLOW":target "flow"
  parser:option("--tag", "only runs with this tag (repeatable)"):argname "T":count "*"
  parser:option("--status", "only runs with this status")
    :choices { "running", "done", "failed", "interrupted" }:argname "STATUS"
  parser:flag("--json", "one JSON document")
end

local RUN = { "id", "flow", "status", "tags", "origin_run_id", "tasks", "steps", "failures" }
local TASKS = { "done", "failed", "reused" }

--- A run as `runs --json` shows it, as a table for json.encode.
function runs.document(run)
  return json.ordered(RUN, {
    id = run.id,
    flow = run.flow,
    status = run.status,
    tags = run.tags,
    origin_run_id = run.origin_run_id or json.null,
    tasks = json.ordered(TASKS, {
      done = run.tasks.done, failed = run.tasks.failed, reused = run.tasks.reused,
    }),
  })
end

--- A time as `runs` shows it: local, to the second.
function runs.time(time) return os.date("%Y-%m-%d %H:%M:%S", math.floor(time)) end

--- How long a run took, or takes so far; "-" where nobody knows.
function runs.duration(run)
  local finished = run.finished_at
  if finished == nil then
    if run.status ~= "running" then return "-" end
    finished = process.now()
  end
  local seconds = math.max(0, finished - run.created_at)
  if seconds < 60 then return ("%.3f s"):format(seconds) end
  local minutes = math.floor(seconds / 60)
  if minutes < 60 then return ("%d min %d s"):format(minutes, seconds % 60) end
  return ("%d h %d min"):format(math.floor(minutes / 60), minutes % 60)
end

-- How many columns of a terminal a text takes: a character each.
local function columns(text) return select(2, text:gsub("[^\128-\191]", "")) end

--- Lines of a table, columns as wide as their widest cell.
function runs.table(rows)
  local widths, lines = {}, {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, columns(cell)) end
  end
  for _, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do cells[i] = cell .. (" "):rep(widths[i] - columns(cell)) end
    lines[#lines + 1] = table.concat(cells, "  "):gsub(" +$", "")
  end
  return table.concat(lines, "\n") .. "\n"
end

local function has_all(list, wanted)
  local has = {}
  for _, tag in ipairs(list) do has[tag] = true end
  for _, tag in ipairs(wanted) do
    if not has[tag] then return false end
  end
  return true
end

-- The runs asked for, as runtime:run gives them.
local function collect(rt, args)
  local list, before = {}, nil
  while true do
    local ids, message, code = rt:runs(args.flow, args.tag[1], before, PAGE)
    if ids == nil then return nil, message, code end
    for _, id in ipairs(ids) do
      local run
      run, message, code = rt:run(id)
      if run == nil and code ~= "notfound" then return nil, message, code end -- not pruned just now
      if run and (args.status == nil or run.status == args.status) and has_all(run.tags, args.tag) then
        list[#list + 1] = run
      end
    end
    if #ids < PAGE then return list end
    before = ids[#ids]
  end
end

local function as_text(list)
  local rows = { { "RUN", "FLOW", "STATUS", "STARTED", "DURATION", "DONE", "FAILED", "TAGS" } }
  for _, run in ipairs(list) do
    rows[#rows + 1] = {
      ("%d"):format(run.id), run.flow, run.status, runs.time(run.created_at), runs.duration(run),
      ("%d"):format(run.tasks.done), ("%d"):format(run.tasks.failed), table.concat(run.tags, ", "),
    }
  end
  return runs.table(rows)
end

function runs.run(args)
  local list, message, code
  local rt
  rt, message, code = cli.open(args)
  if rt then
    list, message, code = collect(rt, args)
    rt:close()
  elseif code == "notfound" then
    list = {} -- no store yet, so no runs
  end
  if list == nil then return nil, message, code end
  if args.json then
    local documents = {}
    for i, run in ipairs(list) do documents[i] = runs.document(run) end
    cli.write(json.encode { runs = documents } .. "\n")
  else
    cli.show(as_text(list))
  end
  return cli.DONE
end

return runs
