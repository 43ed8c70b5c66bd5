--- What the objects of luaflow.client have in common when they read their store. Host only.
---
--- Failures are nil, message, code, as in luaflow.core. `run` is an object with `_store` and `id`,
--- `task` one with `run` and `id`.
local pathspec = require "luaflow.pathspec"

local reading = {}

local PAGE = 4096 -- tasks asked for at a time

--- What is remembered of a run, as it is now.
function reading.run(run) return run._store.runtime:run(run.id) end

local known = setmetatable({}, { __mode = "kv" })

--- What is remembered of a finished task. It does not change, and is read once while in use.
function reading.task(task)
  if known[task] then return known[task] end
  local info, message, code = task.run._store.runtime:task(task.run.id, task.id)
  known[task] = info
  return info, message, code
end

--- Numbers of a run's finished tasks above `after` (nil: all), ascending; of one step, or failed
--- ones alone, where asked.
function reading.numbers(run, step_name, failed_only, after)
  local runtime, first = run._store.runtime, after or 0
  return pathspec.all(function(last, max)
    return runtime:tasks(run.id, step_name, failed_only, math.max(last, first), max)
  end)
end

local function set_of(numbers)
  local set = {}
  for _, number in ipairs(numbers) do set[number] = true end
  return set
end

--- The last task that succeeded, of the run of which this is remembered; nil when there is none.
--- Looks at the last ones first.
--- @return number?, string? message
function reading.last_successful(run, info)
  local from = math.max(info.tasks.started, info.tasks.done + info.tasks.failed)
  repeat
    from = math.max(0, from - PAGE)
    local numbers, message = reading.numbers(run, nil, false, from)
    if numbers == nil then return nil, message end
    local failed
    failed, message = reading.numbers(run, nil, true, from)
    if failed == nil then return nil, message end
    local is_failed = set_of(failed)
    for i = #numbers, 1, -1 do
      if not is_failed[numbers[i]] then return numbers[i] end
    end
  until from == 0
end

-- Adds what one task wrote to a stream.
local function add_printed(parts, run, number, stream)
  local log, message, code = run._store.runtime:log(run.id, number)
  if log == nil then return nil, message, code end
  for _, entry in ipairs(log) do
    if entry.stream == stream then parts[#parts + 1] = entry.text end
  end
  return true
end

--- What the tasks of a run, or of one of its steps, wrote to a stream, in task order.
function reading.printed(run, step_name, stream)
  local info, message, code = reading.run(run)
  if info == nil then return nil, message, code end
  local numbers
  numbers, message, code = pathspec.printed(run._store.runtime, { run = info, step = step_name })
  if numbers == nil then return nil, message, code end
  local parts = {}
  for _, number in ipairs(numbers) do
    local ok
    ok, message, code = add_printed(parts, run, number, stream)
    if not ok then return nil, message, code end
  end
  return table.concat(parts)
end

--- What one task wrote to a stream.
function reading.printed_by(task, stream)
  local parts = {}
  local ok, message, code = add_printed(parts, task.run, task.id, stream)
  if not ok then return nil, message, code end
  return table.concat(parts)
end

return reading
