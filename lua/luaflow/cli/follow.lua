--- Starts a run and shows it until it ends: what `run` and `resume` do. Host only.
local cli = require "luaflow.cli"
local process = require "luaflow.process"
local view = require "luaflow.cli.view"

local follow = {}

local WAIT_SECONDS = 0.1 -- at most, for a signal that came just before waiting
local DELIVER_SECONDS = 0.05

--- Shows until its end what goes on; signals are watched. The first interrupt cancels it, the
--- second abandons it.
---   what: { poll(seconds), is_running(), fd(), cancel() }
---   shown: { interrupted(shown), flush(shown) }
--- @return boolean ended  or else abandoned
function follow.wait(what, shown)
  local heard = 0
  while true do
    local interrupts = process.interrupts()
    if interrupts > 1 then return false end
    if interrupts > heard then
      heard = interrupts
      what.cancel()
      shown:interrupted()
    end
    what.poll(DELIVER_SECONDS)
    shown:flush()
    if not what.is_running() then return true end
    process.wait_readable(what.fd(), WAIT_SECONDS)
  end
end

-- The same for one run.
local function wait(rt, handle, shown)
  local ended = follow.wait({
    poll = function(seconds) rt:poll(seconds) end,
    is_running = function() return handle:status() == "running" end,
    fd = function() return rt:fd() end,
    cancel = function() handle:cancel() end,
  }, shown)
  if ended then return end
  shown:abandoned(handle:id())
  shown:close()
  process.exit(cli.INTERRUPTED)
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
  cli.tell_warnings(rt)
  local status = exit_code(handle)
  handle:close()
  rt:close()
  if shown.problem then return nil, "cannot write to standard output: " .. shown.problem end
  return status
end

return follow
