--- `luaflow prune --keep N`: deletes runs, and what no other run needs. Host only.
local cli = require "luaflow.cli"
local json = require "luaflow.json"

local prune = { summary = "Deletes runs that are not running, and what no other run needs." }

local SECONDS = { s = 1, m = 60, h = 60 * 60, d = 24 * 60 * 60, w = 7 * 24 * 60 * 60 }
local FOREVER = 2^32 - 1

local function age(text)
  local n, unit = text:match "^(%d+)(%a)$"
  local seconds = n and SECONDS[unit] and tonumber(n) * SECONDS[unit]
  if seconds and seconds <= FOREVER then return seconds end
  return nil, ("'%s' is not an age like 30m, 12h or 7d"):format(text)
end

function prune.declare(parser)
  parser:option("--keep", "how many of the newest runs of each flow stay (those that run stay anyway)")
    :argname "N":convert(cli.whole_number(0, FOREVER))
  parser:option("--flow", "only runs of this flow"):argname "F"
  parser:option("--older-than", "only runs that were started longer ago: 30m, 12h, 7d"):argname "D":convert(age)
  parser:flag("--dry-run", "only say what would go")
  parser:flag("--compact", "give the space back to the disk, when nobody else has the store open")
  parser:flag("--json", "one JSON document")
end

local SUM = { "runs", "tasks", "blobs", "bytes", "dry_run", "compacted" }
local COMPACTED = { "before", "after" }

local function as_json(args, sum, sizes)
  return json.encode(json.ordered(SUM, {
    runs = sum.runs, tasks = sum.tasks, blobs = sum.blobs, bytes = sum.bytes, dry_run = args.dry_run == true,
    compacted = sizes and json.ordered(COMPACTED, sizes) or json.null,
  })) .. "\n"
end

local function as_text(args, sum, sizes)
  local text = ("%s %s: %s, %s, %s\n"):format(args.dry_run and "would delete" or "deleted", cli.count(sum.runs, "run"),
    cli.count(sum.tasks, "task"), cli.count(sum.blobs, "value"), cli.size(sum.bytes))
  if not sizes then return text end
  return text .. ("the store's file has shrunk from %s to %s\n"):format(cli.size(sizes.before), cli.size(sizes.after))
end

local function compact(directory)
  local before, after, code = require("luaflow.core").compact(directory)
  if before == nil then return nil, after, code end
  return { before = before, after = after }
end

function prune.run(args)
  if args.keep == nil then return nil, "'--keep N' is missing: how many runs of each flow are to stay", "usage" end
  if args.compact and args.dry_run then return nil, "'--compact' and '--dry-run' do not go together", "usage" end
  local directory, show = cli.store_directory(args), args.json and as_json or as_text
  local rt, sum, message, code, sizes
  rt, message, code = cli.open(args)
  if rt then
    sum, message, code = rt:prune {
      keep = args.keep, flow = args.flow, older_than = args.older_than, dry_run = args.dry_run,
    }
    rt:close()
    if sum and args.compact then
      sizes, message, code = compact(directory)
      if sizes == nil then
        cli.show(show(args, sum))
        return nil, message, code
      end
    end
  elseif code == "notfound" then
    sum = { runs = 0, tasks = 0, blobs = 0, bytes = 0 } -- no store, so nothing to do
  end
  if sum == nil then return nil, message, code end
  cli.show(show(args, sum, sizes))
  return cli.DONE
end

return prune
