--- How a prompt waits for runs: luaflow.run and luaflow.resume show what goes on as the commands
--- do, and Ctrl-C is meant for the run. Host only.
local follow = require "luaflow.cli.follow"
local process = require "luaflow.process"
local stores = require "luaflow.stores"
local view = require "luaflow.cli.view"

local attend = {}

-- Calls f, whatever it raises, while Ctrl-C is only counted.
local function watching_signals(f, ...)
  io.stdout:flush()
  process.watch_signals()
  local ok, result = pcall(f, ...)
  process.unwatch_signals()
  if not ok then error(result, 0) end
  return result
end

-- The console of a run, telling what to type at a prompt.
local function console_of(run, flow)
  local steps, message = run:steps()
  if steps == nil then error(message, 0) end
  local source = type(flow) == "string" and ("%q"):format(flow) or "flow"
  return view.new({ about = { name = run.flow_name, steps = steps }, path = type(flow) == "string" and flow or nil }, {
    resume = function(id) return ("luaflow.resume(%s, { origin_run_id = %d })"):format(source, id) end,
    logs = function(event)
      return ("print(luaflow.Task(%q).stdout)"):format(
        ("%s/%d/%s/%d"):format(run.flow_name, event.run, event.step, event.task))
    end,
  })
end

-- So many tasks of a step are shown one by one, as the commands do.
attend.progress_after = 50

--- Shows a run that was just started until it ends. The first Ctrl-C cancels it; after the second
--- it is waited for no longer.
--- @return boolean ended
function attend.attend(run, flow)
  local shown = console_of(run, flow)
  local is_watched = true
  run:on(function(event)
    if is_watched then shown:event(event) end
  end)
  local ended = watching_signals(follow.wait, {
    poll = function(seconds) run:poll(seconds) end,
    is_running = function() return run.status == "running" end,
    fd = function() return run:fd() end,
    cancel = function() run:cancel() end,
  }, shown)
  if not ended then shown:abandoned(run.id) end
  is_watched = false
  shown:close()
  return ended
end

-- The runs that were started here and go on.
local function running()
  local lives = {}
  for _, store in stores.each() do
    for _, live in pairs(store.lives) do
      if live:status() == "running" then lives[#lives + 1] = live end
    end
  end
  return lives
end

-- What is said while the last runs end.
local function goodbye(warn)
  return {
    interrupted = function() warn("luaflow: cancelled; press Ctrl-C again to leave at once\n") end,
    flush = function() end,
  }
end

--- Waits for runs that go on, at the end. The first Ctrl-C cancels them.
--- @return boolean ended
function attend.all(warn)
  local lives = running()
  if #lives == 0 then return true end
  local poll = require("luaflow").poll
  warn(("luaflow: waiting for %s to end; Ctrl-C cancels %s\n"):format(
    require("luaflow.console").plural(#lives, "run"), #lives == 1 and "it" or "them"))
  return watching_signals(follow.wait, {
    poll = function(seconds) poll(seconds) end,
    is_running = function() return #running() > 0 end,
    fd = function() return running()[1]:fd() end,
    cancel = function()
      for _, live in ipairs(lives) do live:cancel() end
    end,
  }, goodbye(warn))
end

return attend
