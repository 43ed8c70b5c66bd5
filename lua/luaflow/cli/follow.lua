--- Starts a run and shows it until it ends: what `run` and `resume` do. Host only.
local cli = require "luaflow.cli"
local process = require "luaflow.process"
local view = require "luaflow.cli.view"

local follow = {}

local WAIT_SECONDS = 0.1 -- at most, for a signal that came just before waiting
local DELIVER_SECONDS = 0.05

-- Shows the run until it ends. The first interrupt cancels it, the second abandons it.
local function wait(rt, handle, shown)
  local heard = 0
  while true do
    local interrupts = process.interrupts()
    if interrupts > heard then
      if interrupts > 1 then
        shown:abandoned(handle:id())
        shown:close()
        process.exit(cli.INTERRUPTED)
      end
      heard = interrupts
      handle:cancel()
      shown:interrupted()
    end
    rt:poll(DELIVER_SECONDS)
    shown:flush()
    if handle:status() ~= "running" then return end
    process.wait_readable(rt:fd(), WAIT_SECONDS)
  end
end

local function exit_code(handle)
  local status = handle:status()
  if status == "done" then return cli.DONE end
  if status == "interrupted" then return cli.INTERRUPTED end
  local _, code = handle:problem()
  return code == "store" and cli.STORE or cli.RUN_FAILED
end

--- Opens the store (made if `create`), starts a run with start(rt, options) and shows it
--- until it ends; `args` as parsed.
--- @return number? exit_code, string? message, string? code
function follow.run(args, create, start)
  process.watch_signals()
  local rt, message, code = cli.open(args, { create = create, wait_for_host = true })
  if rt == nil then return nil, message, code end
  local shown = view.new(args)
  local handle
  handle, message, code = start(rt, {
    tags = args.tag,
    max_workers = args.max_workers,
    max_num_splits = args.max_num_splits,
    progress_after = (args.verbose or args.explain or args.json) and 0 or 50,
    keep_going = args.keep_going,
    run_id_file = args.run_id_file,
    on_event = function(event) shown:event(event) end,
  })
  if handle == nil then
    rt:close()
    return nil, message, code
  end
  wait(rt, handle, shown)
  shown:close()
  local status = exit_code(handle)
  handle:close()
  rt:close()
  if shown.problem then return nil, "cannot write to standard output: " .. shown.problem end
  return status
end

return follow
