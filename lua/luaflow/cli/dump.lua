--- `luaflow dump PATHSPEC`: the artifacts of tasks. Host only. Its form is that of `step` too.
local cli = require "luaflow.cli"
local json = require "luaflow.json"
local pathspec = require "luaflow.pathspec"
local values = require "luaflow.cli.values"

local dump = { summary = "Shows the artifacts of every task of a run, of a step, or of one task." }

dump.MAX_TEXT = 1000 -- bytes of a value shown as text, unless told otherwise

function dump.declare(parser)
  parser:argument("PATHSPEC", "a run, a step or a task: Flow/run[/step[/task]], a run id, or last")
    :argname "PATHSPEC":target "pathspec"
  parser:option("--include", "only these artifacts"):argname "a,b":count "*"
  parser:option("--max-value-size",
    "show a longer value as its kind and size (default: 1,000 for text, no limit for JSON)")
    :argname "BYTES":convert(cli.whole_number(0, 2^53))
  parser:mutex(
    parser:option("--raw", "one task: write this artifact's canonical bytes (MessagePack)"):argname "NAME",
    parser:flag("--json", "one JSON document")
  )
end

-- The wanted artifacts of one task: { { name = , text = }, … }.
local function artifacts_of(rt, task, options)
  local artifacts = {}
  for _, artifact in ipairs(task.failed and {} or task.artifacts) do
    if options.include == nil or options.include[artifact.name] then
      local bytes, message, code = rt:bytes(task.run, task.task, artifact.name)
      if bytes == nil then return nil, message, code end
      local text
      text, message, code = values.text(bytes, options.limit, options.is_json)
      if text == nil then return nil, message, code end
      artifacts[#artifacts + 1] = { name = artifact.name, text = text }
    end
  end
  return artifacts
end

--- A task for people: { pathspec =, path =, status =, artifacts = { { name =, text = }, … } }.
function dump.text(task)
  local lines = { ("%s  %s  %s"):format(task.pathspec, task.path, task.status) }
  for _, artifact in ipairs(task.artifacts) do
    lines[#lines + 1] = ("    %s = %s"):format(artifact.name, artifact.text)
  end
  return table.concat(lines, "\n") .. "\n"
end

local TASK = { "pathspec", "path", "status", "message", "traceback", "artifacts" }

--- The same as JSON, and where they are there its `message` and `traceback`.
function dump.json(task)
  local texts = {}
  for _, artifact in ipairs(task.artifacts) do texts[artifact.name] = json.raw(artifact.text) end
  return json.encode(json.ordered(TASK, {
    pathspec = task.pathspec,
    path = task.path,
    status = task.status,
    message = task.message,
    traceback = task.traceback,
    artifacts = #task.artifacts > 0 and texts or json.ordered({}, texts), -- {}, not []
  }))
end

local function dump_raw(rt, place, name)
  local numbers, message, code = pathspec.tasks(rt, place)
  if numbers == nil then return nil, message, code end
  if #numbers > 1 then
    return nil, ("--raw writes the artifact of one task, and this names %d; say which, as in Flow/run/step/task")
      :format(#numbers), "usage"
  end
  local bytes
  bytes, message, code = pathspec.bytes(rt, place, name)
  if bytes == nil then return nil, message, code end
  cli.write(bytes)
  return cli.DONE
end

-- The names of `--include a,b` as a set; nil when it was not given.
local function names_of(include)
  if #include == 0 then return nil end
  local names = {}
  for name in table.concat(include, ","):gmatch("[^,]+") do
    name = name:match("^%s*(.-)%s*$")
    if name ~= "" then names[name] = true end
  end
  return names
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- Calls see(task, i) with every task of a place in turn; what that gives is the end of it.
local function each_task(rt, place, see)
  local next_page, i = pathspec.pages(rt, place), 0
  repeat
    local numbers, message, code = next_page()
    if numbers == nil then return nil, message, code end
    for _, number in ipairs(numbers) do
      local task
      task, message, code = rt:task(place.run.id, number)
      if task == nil then return nil, message, code end
      i = i + 1
      local ok
      ok, message, code = see(task, i)
      if not ok then return nil, message, code end
    end
  until #numbers == 0
  return true
end

-- Fails when there is a name that none of the tasks has.
local function check_names(rt, place, wanted)
  local seen = {}
  local ok, message, code = each_task(rt, place, function(task)
    for _, artifact in ipairs(task.failed and {} or task.artifacts) do seen[artifact.name] = true end
    return true
  end)
  if not ok then return nil, message, code end
  for _, name in ipairs(sorted(wanted)) do
    if not seen[name] then
      local names = table.concat(sorted(seen), ", ")
      return nil, ("no task here has an artifact '%s'; there %s"):format(name,
        names == "" and "is none" or "is " .. names), "notfound"
    end
  end
  return true
end

-- Writes every task; as JSON, the elements of a list.
local function write_tasks(rt, place, options)
  local ok, failure, why = each_task(rt, place, function(task, i)
    local artifacts, message, code = artifacts_of(rt, task, options)
    if artifacts == nil then return nil, message, code end
    local shown = {
      pathspec = pathspec.of(place.run, task.step, task.task),
      path = task.path,
      status = task.failed and "failed" or "done",
      artifacts = artifacts,
    }
    if options.is_json then
      cli.write((i > 1 and "," or "") .. dump.json(shown))
    else
      cli.show(dump.text(shown))
    end
    return true
  end)
  if not ok then return nil, failure, why end
  return cli.DONE
end

function dump.run(args)
  return cli.with_store(args, function(rt)
    local place, message, code = pathspec.find(rt, args.pathspec)
    if place == nil then return nil, message, code end
    if args.raw then return dump_raw(rt, place, args.raw) end
    if place.task then -- which may not be there
      local task
      task, message, code = pathspec.task(rt, place)
      if task == nil then return nil, message, code end
    end
    local options = {
      include = names_of(args.include),
      limit = args.max_value_size or (args.json and math.huge or dump.MAX_TEXT),
      is_json = args.json,
    }
    if options.include then
      local ok
      ok, message, code = check_names(rt, place, options.include)
      if not ok then return nil, message, code end
    end
    if not args.json then return write_tasks(rt, place, options) end
    -- What cannot be read ends the list, never the document in its middle.
    local status
    cli.write('{"tasks":[')
    status, message, code = write_tasks(rt, place, options)
    cli.write("]}\n")
    return status, message, code
  end)
end

return dump
