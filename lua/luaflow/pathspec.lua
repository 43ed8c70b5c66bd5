--- Finds what a PATHSPEC names in a store: `Flow/run[/step[/task]]`, a run id, or
--- `last`. Host only. Failures are nil, message, code, as in luaflow.core.
---
--- A place is { run = what runtime:run gives, step = name or nil, task = number or nil }.
local pathspec = {}

local PAGE = 4096 -- numbers asked for at a time

--- All the numbers that `list(after, max)` gives page by page, in one table.
--- @return number[]? numbers, string? message, string? code
function pathspec.all(list)
  local numbers = {}
  while true do
    local page, message, code = list(numbers[#numbers] or 0, PAGE)
    if page == nil then return nil, message, code end
    for _, number in ipairs(page) do numbers[#numbers + 1] = number end
    if #page < PAGE then return numbers end
  end
end

local function split(text)
  local parts = {}
  for part in (text .. "/"):gmatch("([^/]*)/") do parts[#parts + 1] = part end
  return parts
end

local function not_a_pathspec(text)
  return nil, ("'%s' is not a PATHSPEC: write Flow/run[/step[/task]], a run id, or last"):format(text), "usage"
end

local function is_number(text) return text ~= nil and text:find("^%d+$") ~= nil and #text < 16 end

local function newest(rt, flow)
  local ids, message, code = rt:runs(flow, nil, nil, 1)
  if ids == nil then return nil, message, code end
  if ids[1] == nil then
    return nil, flow and ("there is no run of flow %s in this store"):format(flow)
      or "there is no run in this store yet", "notfound"
  end
  return ids[1]
end

-- The run that `text` begins with, and the parts that follow it.
local function find_run(rt, text)
  local parts = split(text)
  local flow, id
  local rest = 2
  if is_number(parts[1]) then
    id = tonumber(parts[1])
  elseif is_number(parts[2]) then
    flow, id, rest = parts[1], tonumber(parts[2]), 3
  else
    if parts[2] == "last" then
      flow, rest = parts[1], 3
    elseif parts[1] ~= "last" then
      return not_a_pathspec(text)
    end
    local message, code
    id, message, code = newest(rt, flow)
    if id == nil then return nil, message, code end
  end
  local run, message, code = rt:run(id)
  if run == nil and code == "notfound" then
    return nil, ("run %d is not in this store"):format(id), "notfound"
  end
  if run == nil then return nil, message, code end
  if flow and run.flow ~= flow then
    return nil, ("%s is not in this store: run %d is of flow %s"):format(text, id, run.flow), "notfound"
  end
  return run, { unpack(parts, rest) }
end

--- Whether a run has a step of this name.
--- @return true?, string? message, string? code
function pathspec.check_step(run, name)
  local names = {}
  for i, step in ipairs(run.steps) do
    if step.name == name then return true end
    names[i] = step.name
  end
  return nil, ("run %d has no step '%s'; its steps are %s"):format(run.id, name, table.concat(names, ", ")), "notfound"
end

--- @return table? run, string? message, string? code
function pathspec.run(rt, text)
  local run, rest, code = find_run(rt, text)
  if run == nil then return nil, rest, code end
  if #rest > 0 then return nil, ("'%s' names more than a run"):format(text), "usage" end
  return run
end

--- @return table? place, string? message, string? code
function pathspec.find(rt, text)
  local run, rest, code = find_run(rt, text)
  if run == nil then return nil, rest, code end
  local step, task = rest[1], rest[2]
  if #rest > 2 or (task and not is_number(task)) then return not_a_pathspec(text) end
  if step then
    local ok, message, missing = pathspec.check_step(run, step)
    if not ok then return nil, message, missing end
  end
  return { run = run, step = step, task = tonumber(task) }
end

--- Cuts `PATHSPEC/NAME`. A name may hold slashes where the step is named.
--- @return table? place, string name_or_message, string? code
function pathspec.find_artifact(rt, text)
  local run, rest, code = find_run(rt, text)
  if run == nil then return nil, rest, code end
  if #rest == 0 then
    return nil, ("'%s' names no artifact: write PATHSPEC/NAME"):format(text), "usage"
  end
  if #rest == 1 then return { run = run }, rest[1] end
  local step = rest[1]
  local ok, message, missing = pathspec.check_step(run, step)
  if not ok then return nil, message, missing end
  if #rest > 2 and is_number(rest[2]) then
    return { run = run, step = step, task = tonumber(rest[2]) }, table.concat(rest, "/", 3)
  end
  return { run = run, step = step }, table.concat(rest, "/", 2)
end

--- The name of a task: `Flow/run/step/task`.
function pathspec.of(run, step, task) return ("%s/%d/%s/%d"):format(run.flow, run.id, step, task) end

local function no_task(place)
  return nil, ("run %d has no task %d of step %s"):format(place.run.id, place.task, place.step), "notfound"
end

--- What is remembered of the one task a place names.
--- @return table? task, string? message, string? code
function pathspec.task(rt, place)
  local task, message, code = rt:task(place.run.id, place.task)
  if task == nil and code ~= "notfound" then return nil, message, code end
  if task == nil or task.step ~= place.step then return no_task(place) end
  return task
end

--- The same, page by page: a function that gives the next, at the end an empty one.
--- @return fun(): number[]?, string?, string?
function pathspec.pages(rt, place)
  local after, is_over, max = 0, false, 64 -- at first, what fills a screen
  return function()
    if is_over then return {} end
    if place.task then
      is_over = true
      return pathspec.tasks(rt, place)
    end
    local numbers, message, code = rt:tasks(place.run.id, place.step, false, after, max)
    if numbers == nil then return nil, message, code end
    after, is_over, max = numbers[#numbers], #numbers < max, 4096
    return numbers
  end
end

--- The numbers of the finished tasks of a place, ascending.
--- @return number[]? numbers, string? message, string? code
function pathspec.tasks(rt, place)
  if place.task then
    local task, message, code = pathspec.task(rt, place)
    if task == nil then return nil, message, code end
    return { place.task }
  end
  return pathspec.all(function(after, max)
    return rt:tasks(place.run.id, place.step, false, after, max)
  end)
end

--- The one task whose artifacts a place stands for: itself, a step's only task, or a
--- run's last one that succeeded.
--- @return table? task, string? message, string? code
function pathspec.one_task(rt, place)
  if place.task then return pathspec.task(rt, place) end
  local numbers, message, code = pathspec.tasks(rt, place)
  if numbers == nil then return nil, message, code end
  if place.step then
    if #numbers == 0 then
      return nil, ("run %d has no finished task of step %s"):format(place.run.id, place.step), "notfound"
    end
    if #numbers > 1 then
      return nil, ("step %s of run %d has %d tasks; say which, as in %s"):format(place.step, place.run.id,
        #numbers, pathspec.of(place.run, place.step, numbers[1])), "usage"
    end
    return rt:task(place.run.id, numbers[1])
  end
  for i = #numbers, 1, -1 do
    local task
    task, message, code = rt:task(place.run.id, numbers[i])
    if task == nil or not task.failed then return task, message, code end
  end
  return nil, ("run %d has no task that succeeded yet"):format(place.run.id), "notfound"
end

--- Why a task has no artifact of this name.
--- @return nil, string message, string code
function pathspec.no_artifact(run, task, name)
  local names = {}
  for i, artifact in ipairs(task.artifacts) do names[i] = artifact.name end
  local has = task.failed and "it failed, so it has none"
    or #names == 0 and "it has none" or "it has " .. table.concat(names, ", ")
  return nil, ("%s has no artifact '%s'; %s"):format(pathspec.of(run, task.step, task.task), name, has), "notfound"
end

--- The canonical bytes of an artifact of the one task a place stands for.
--- @return string? bytes, string? message, string? code
function pathspec.bytes(rt, place, name)
  local task, message, code = pathspec.one_task(rt, place)
  if task == nil then return nil, message, code end
  local bytes
  bytes, message, code = rt:bytes(place.run.id, task.task, name)
  if bytes == nil and code == "notfound" then return pathspec.no_artifact(place.run, task, name) end
  return bytes, message, code
end

--- An artifact of the one task a place stands for, as core.decode_marked gives it.
--- @return true? ok, any value_or_message, string? code
function pathspec.value(rt, place, name)
  local task, message, code = pathspec.one_task(rt, place)
  if task == nil then return nil, message, code end
  local ok, value
  ok, value, code = rt:artifact(place.run.id, task.task, name, true)
  if not ok and code == "notfound" then return pathspec.no_artifact(place.run, task, name) end
  return ok, value, code
end

--- The numbers of the tasks of a place that printed something, running ones included.
--- @return number[]? numbers, string? message, string? code
function pathspec.printed(rt, place)
  local wanted, steps = {}, {}
  local numbers, message, code = pathspec.all(function(after, max)
    local page, indexes, why = rt:logs(place.run.id, after, max)
    if page == nil then return nil, indexes, why end
    for i, number in ipairs(page) do steps[number] = place.run.steps[indexes[i]].name end
    return page
  end)
  if numbers == nil then return nil, message, code end
  for _, number in ipairs(numbers) do
    if (place.step == nil or place.step == steps[number]) and (place.task == nil or place.task == number) then
      wanted[#wanted + 1] = number
    end
  end
  if #wanted == 0 and place.task then -- it printed nothing, or it is not there
    local task
    task, message, code = pathspec.task(rt, place)
    if task == nil then return nil, message, code end
  end
  return wanted
end

return pathspec
