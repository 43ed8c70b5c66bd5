--- `luaflow dump PATHSPEC`: the artifacts of tasks. Host only.
local cli = require "luaflow.cli"
local console = require "luaflow.console"
local core = require "luaflow.core"
local json = require "luaflow.json"
local pathspec = require "luaflow.pathspec"

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

-- Canonical bytes: how long the head of a string or an ext is, by its first byte. (The last
-- byte of an ext's head is its type.)
local STRING_HEAD = { [0xd9] = 2, [0xda] = 3, [0xdb] = 5, [0xc4] = 2, [0xc5] = 3, [0xc6] = 5 }
local EXT_HEAD = {
  [0xd4] = 2, [0xd5] = 2, [0xd6] = 2, [0xd7] = 2, [0xd8] = 2, [0xc7] = 3, [0xc8] = 4, [0xc9] = 6,
}
local EXT_CLASS, EXT_ARRAY = 3, 16 -- and above

-- What canonical bytes stand for, told without decoding them; of a string or an FFI array
-- also how many bytes it has.
local function look_at(bytes)
  local first = bytes:byte()
  if first >= 0xa0 and first <= 0xbf then return "string", #bytes - 1 end
  if STRING_HEAD[first] then return "string", #bytes - STRING_HEAD[first] end
  if EXT_HEAD[first] then
    local ext = bytes:byte(EXT_HEAD[first])
    if ext >= EXT_ARRAY then return "array", #bytes - EXT_HEAD[first] end
    return ext == EXT_CLASS and "class" or "number"
  end
  if first >= 0x90 and first <= 0x9f or first == 0xdc or first == 0xdd then return "list" end
  if first >= 0x80 and first <= 0x8f or first == 0xde or first == 0xdf then return "table" end
  if first == 0xc0 then return "nil" end
  return (first == 0xc2 or first == 0xc3) and "boolean" or "number"
end

local OMITTED = { "$type", "kind", "size" }

-- What stands for a value of `size` bytes that is too long to be shown.
local function omitted(kind, size, is_json)
  if not is_json then return ("(%s, %s)"):format(kind, console.plural(size, "byte")) end
  return json.encode(json.ordered(OMITTED, { ["$type"] = "omitted", kind = kind, size = size }))
end

-- As text no value is much shorter than its bytes, so what is far above the limit need not
-- be decoded to know that it is.
local function is_far_above(size, limit) return size > 8 * limit + 64 end

-- One artifact's value as text of the format asked for.
local function value_of(rt, task, artifact, options)
  local bytes, message, code = rt:bytes(task.run, task.task, artifact.name)
  if bytes == nil then return nil, message, code end
  local kind, size = look_at(bytes)
  if size and size > options.limit or not size and is_far_above(#bytes, options.limit) then
    return omitted(kind, size or #bytes, options.is_json)
  end
  local ok, value, why = core.decode_marked(bytes)
  if not ok then return nil, value, why end
  local text = json.encode(value)
  if not size and #text > options.limit then return omitted(kind, #text, options.is_json) end
  return text
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
  return table.concat(lines, "\n") .. "\n"
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

-- Fails when there is a name that none of the tasks has.
local function check_names(rt, place, numbers, wanted)
  local seen = {}
  for _, number in ipairs(numbers) do
    local task, message, code = rt:task(place.run.id, number)
    if task == nil then return nil, message, code end
    for _, artifact in ipairs(task.failed and {} or task.artifacts) do seen[artifact.name] = true end
  end
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
local function write_tasks(rt, place, numbers, options)
  for i, number in ipairs(numbers) do
    local task, message, code = rt:task(place.run.id, number)
    if task == nil then return nil, message, code end
    local values
    values, message, code = values_of(rt, task, options)
    if values == nil then return nil, message, code end
    if options.is_json then
      cli.write((i > 1 and "," or "") .. as_json(place.run, task, values))
    else
      cli.show(as_text(place.run, task, values))
    end
  end
  return cli.DONE
end

function dump.run(args)
  return cli.with_store(args, function(rt)
    local place, message, code = pathspec.find(rt, args.pathspec)
    if place == nil then return nil, message, code end
    if args.raw then return dump_raw(rt, place, args.raw) end
    local numbers, ok
    numbers, message, code = pathspec.tasks(rt, place)
    if numbers == nil then return nil, message, code end
    local options = {
      include = names_of(args.include),
      limit = args.max_value_size or (args.json and math.huge or MAX_TEXT),
      is_json = args.json,
    }
    if options.include then
      ok, message, code = check_names(rt, place, numbers, options.include)
      if not ok then return nil, message, code end
    end
    if not args.json then return write_tasks(rt, place, numbers, options) end
    -- What cannot be read ends the list, never the document in its middle.
    local status
    cli.write('{"tasks":[')
    status, message, code = write_tasks(rt, place, numbers, options)
    cli.write("]}\n")
    return status, message, code
  end)
end

return dump
