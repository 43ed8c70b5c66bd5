--- `luaflow dump PATHSPEC`: the artifacts of tasks. Host only.
local cli = require "luaflow.cli"
local console = require "luaflow.console"
local core = require "luaflow.core"
local json = require "luaflow.json"
local pathspec = require "luaflow.pathspec"
local process = require "luaflow.process"

local dump = { summary = "Shows the artifacts of every task of a run, of a step, or of one task." }

local MAX_TEXT = 1000 -- bytes of a value shown as text, unless told otherwise

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

-- What canonical bytes stand for, told from the first few of them.
local function kind_of(bytes)
  local first, second, third = bytes:byte(1, 3)
  if first >= 0x90 and first <= 0x9f or first == 0xdc or first == 0xdd then return "list" end
  if first >= 0x80 and first <= 0x8f or first == 0xde or first == 0xdf then return "table" end
  if first >= 0xa0 and first <= 0xbf or first >= 0xd9 and first <= 0xdb then return "string" end
  if first >= 0xc4 and first <= 0xc6 then return "bytes" end
  local ext = first >= 0xd4 and first <= 0xd8 and second
    or first == 0xc7 and third
    or first == 0xc8 and bytes:byte(4)
    or first == 0xc9 and bytes:byte(6)
  if ext == 3 then return "class" end
  if ext and ext >= 16 then return "array" end
  if first == 0xc0 then return "nil" end
  if first == 0xc2 or first == 0xc3 then return "boolean" end
  return "number"
end

local OMITTED = { "$type", "kind", "size" }

-- What stands for a value of `size` bytes that is too long to be shown.
local function omitted(kind, size)
  return json.ordered(OMITTED, { ["$type"] = "omitted", kind = kind, size = size })
end

-- One artifact's value as text of the format asked for.
local function value_of(rt, task, artifact, options)
  local bytes, message, code = rt:bytes(task.run, task.task, artifact.name)
  if bytes == nil then return nil, message, code end
  if #bytes > options.limit then
    local kind = kind_of(bytes)
    if options.is_json then return json.encode(omitted(kind, #bytes)) end
    return ("(%s, %d bytes)"):format(kind, #bytes)
  end
  local ok, value, why = core.decode_marked(bytes)
  if not ok then return nil, value, why end
  return json.encode(value)
end

-- The wanted artifacts of one task: { { name = , text = }, … }.
local function values_of(rt, task, options)
  local values = {}
  for _, artifact in ipairs(task.failed and {} or task.artifacts) do
    if options.include == nil or options.include[artifact.name] then
      local text, message, code = value_of(rt, task, artifact, options)
      if text == nil then return nil, message, code end
      values[#values + 1] = { name = artifact.name, text = text }
    end
  end
  return values
end

local function as_text(run, task, values)
  local lines = { ("%s  %s  %s"):format(pathspec.of(run, task.step, task.task), task.path,
    task.failed and "failed" or "done") }
  for _, value in ipairs(values) do lines[#lines + 1] = ("    %s = %s"):format(value.name, value.text) end
  local text = table.concat(lines, "\n") .. "\n"
  return process.isatty(1) and console.visible(text) or text
end

local TASK = { "pathspec", "path", "status", "artifacts" }

local function as_json(run, task, values)
  local artifacts = {}
  for _, value in ipairs(values) do artifacts[value.name] = json.raw(value.text) end
  return json.encode(json.ordered(TASK, {
    pathspec = pathspec.of(run, task.step, task.task),
    path = task.path,
    status = task.failed and "failed" or "done",
    artifacts = #values > 0 and artifacts or json.ordered({}, artifacts), -- {}, not []
  }))
end

local function dump_raw(rt, place, name)
  local bytes, message, code = pathspec.bytes(rt, place, name)
  if bytes == nil then return nil, message, code end
  cli.write(bytes)
  return cli.DONE
end

local function options_of(args)
  local include
  for _, names in ipairs(args.include) do
    include = include or {}
    for name in names:gmatch("[^,]+") do include[name] = true end
  end
  local limit = args.max_value_size or (args.json and math.huge or MAX_TEXT)
  return { include = include, limit = limit, is_json = args.json }
end

function dump.run(args)
  return cli.with_store(args, function(rt)
    local place, message, code = pathspec.find(rt, args.pathspec)
    if place == nil then return nil, message, code end
    if args.raw then return dump_raw(rt, place, args.raw) end
    local numbers
    numbers, message, code = pathspec.tasks(rt, place)
    if numbers == nil then return nil, message, code end
    local options = options_of(args)
    if args.json then cli.write('{"tasks":[') end
    for i, number in ipairs(numbers) do
      local task, values
      task, message, code = rt:task(place.run.id, number)
      if task == nil then return nil, message, code end
      values, message, code = values_of(rt, task, options)
      if values == nil then return nil, message, code end
      if args.json then
        cli.write((i > 1 and "," or "") .. as_json(place.run, task, values))
      else
        cli.write(as_text(place.run, task, values))
      end
    end
    if args.json then cli.write("]}\n") end
    return cli.DONE
  end)
end

return dump
