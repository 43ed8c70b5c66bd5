--- A run that was started in this state: its events on their way to who listens. Host only.
---
--- Its store keeps it until its last event was delivered, so that a run which nobody holds goes
--- on, and is heard. Whoever delivers, from whatever coroutine, delivers for all of the store.
--- (A run with a listener that is waited for has a runtime of its own: see luaflow.host.)
local live = {}

local Live = {}
Live.__index = Live

--- Who shows the runs of luaflow.run and luaflow.resume until they end, as a prompt does; else they
--- are just waited for: { attend = function(run, flow), progress_after = }.
live.audience = nil

-- All listeners hear an event, whatever becomes of one; the first error ends what delivers.
local function tell(listeners, event)
  local failed, failure = false, nil
  for i = 1, #listeners do
    local ok, message = pcall(listeners[i], event)
    if not ok and not failed then failed, failure = true, message end
  end
  if failed then error(failure, 0) end
end

--- Takes the handle that runtime:start or :resume of `store` gave.
function live.new(store, handle)
  local self = setmetatable({ store = store, handle = handle, listeners = {} }, Live)
  store.lives[handle:id()] = self
  return self
end

--- `listener` hears every event from here on.
function Live:listen(listener)
  local listeners = self.listeners
  listeners[#listeners + 1] = listener
  if #listeners == 1 and not self.ended_as then self.handle:listen(function(event) tell(listeners, event) end) end
end

--- Whether somebody hears its events.
function Live:is_heard() return self.listeners[1] ~= nil end

--- As of the events that were delivered.
function Live:status() return self.ended_as or self.handle:status() end

-- A run that has ended needs neither its store, which may be closed, nor to be kept.
local function settle(store)
  for id, run in pairs(store.lives) do
    local status = run.handle:status()
    if status ~= "running" then
      run.ended_as, run.why = status, run.handle:problem()
      store.lives[id] = nil
    end
  end
end

-- Calls what delivers events.
local function deliver(store, method, ...)
  local ok, result = pcall(method, ...)
  settle(store)
  if not ok then error(result, 0) end
  return result
end

--- Delivers waiting events of all runs of `store`, for at most so many seconds.
--- @return number delivered, number lost  lost: since the store was opened, for want of this
function live.poll(store, seconds)
  local runtime = store.runtime
  return deliver(store, runtime.poll, runtime, seconds), runtime:events_lost()
end

--- Delivers until the run has ended, for at most so many seconds; without end for nil.
--- @return boolean ended
function Live:wait(seconds)
  if self.ended_as then return true end
  local handle = self.handle
  local function wait() return deliver(self.store, handle.wait, handle, seconds) end
  if seconds then return wait() end
  repeat until wait() -- a signal handler ends each, and may have asked Lua to raise an error
  return true
end

function Live:cancel()
  if not self.ended_as then self.handle:cancel() end
end

--- Why the store failed the run, which it may not have been able to keep; nil while it runs.
function Live:problem() return self.why end

--- A descriptor that is readable when events wait.
function Live:fd() return self.store.runtime:fd() end

return live
