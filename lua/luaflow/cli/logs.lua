--- `luaflow logs PATHSPEC`: what tasks printed. Host only.
local cli = require "luaflow.cli"
local console = require "luaflow.console"
local pathspec = require "luaflow.pathspec"
local process = require "luaflow.process"

local logs = { summary = "Shows what tasks printed, in task order, all attempts." }

function logs.declare(parser)
  parser:argument("PATHSPEC", "a run, a step or a task: Flow/run[/step[/task]], a run id, or last")
    :argname "PATHSPEC":target "pathspec"
  parser:mutex(
    parser:flag("--stdout", "only what went to stdout"),
    parser:flag("--stderr", "only what went to stderr")
  )
  parser:flag("--timestamps", "the time in front of every line")
  parser:flag("--json", "one JSON document")
end

local LINE = { "task", "attempt", "time", "stream", "text" }

local function with_newline(text) return (text == "" or text:find("\n$")) and text or text .. "\n" end

local function as_text(entries, with_time)
  local out = {}
  for i, entry in ipairs(entries) do
    -- Beside times even an unfinished line is one.
    out[i] = with_time and console.stamp(entry.time) .. " " .. with_newline(entry.text) or entry.text
  end
  local text = table.concat(out)
  return process.isatty(1) and with_newline(console.visible(text)) or text
end

local function as_json(entries)
  local json = require "luaflow.json"
  local out = {}
  for i, entry in ipairs(entries) do
    entry.text = entry.text:gsub("\n$", "")
    out[i] = json.encode(json.ordered(LINE, entry))
  end
  return table.concat(out, ",")
end

local function wanted(args, entries)
  local stream = args.stdout and "stdout" or args.stderr and "stderr"
  if not stream then return entries end
  local kept = {}
  for _, entry in ipairs(entries) do
    if entry.stream == stream then kept[#kept + 1] = entry end
  end
  return kept
end

-- Writes what the tasks printed; as JSON, the elements of a list.
local function write_lines(rt, args, place, numbers)
  local comma = ""
  for _, number in ipairs(numbers) do
    local entries, message, code = rt:log(place.run.id, number)
    if entries == nil then return nil, message, code end
    entries = wanted(args, entries)
    if not args.json then
      cli.write(as_text(entries, args.timestamps))
    elseif #entries > 0 then
      cli.write(comma .. as_json(entries))
      comma = ","
    end
  end
  return cli.DONE
end

function logs.run(args)
  return cli.with_store(args, function(rt)
    local place, message, code = pathspec.find(rt, args.pathspec)
    if place == nil then return nil, message, code end
    local numbers, status
    numbers, message, code = pathspec.printed(rt, place)
    if numbers == nil then return nil, message, code end
    if not args.json then return write_lines(rt, args, place, numbers) end
    cli.write('{"lines":[')
    status, message, code = write_lines(rt, args, place, numbers)
    cli.write("]}\n")
    return status, message, code
  end)
end

return logs
