--- `luaflow logs PATHSPEC`: what tasks printed. Host only.
local cli = require "luaflow.cli"
local console = require "luaflow.console"
local pathspec = require "luaflow.pathspec"

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

-- The lines of one log entry, each with its newline if it has one.
local function lines_of(text) return text:gmatch("[^\n]*\n?") end

local function as_text(entries, with_time)
  local out = {}
  for _, entry in ipairs(entries) do
    if with_time then
      local prefix = console.stamp(entry.time) .. " "
      for line in lines_of(entry.text) do
        if line ~= "" then out[#out + 1] = prefix .. line end
      end
    else
      out[#out + 1] = entry.text
    end
  end
  return table.concat(out)
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

function logs.run(args)
  return cli.with_store(args, function(rt)
    local place, message, code = pathspec.find(rt, args.pathspec)
    if place == nil then return nil, message, code end
    local numbers
    numbers, message, code = pathspec.printed(rt, place)
    if numbers == nil then return nil, message, code end
    local comma = '{"lines":['
    for _, number in ipairs(numbers) do
      local entries
      entries, message, code = rt:log(place.run.id, number)
      if entries == nil then return nil, message, code end
      entries = wanted(args, entries)
      if not args.json then
        cli.write(as_text(entries, args.timestamps))
      elseif #entries > 0 then
        cli.write(comma .. as_json(entries))
        comma = ","
      end
    end
    if args.json then cli.write((comma == "," and "" or comma) .. "]}\n") end
    return cli.DONE
  end)
end

return logs
