--- The artifacts of a task as fields of one table: what `task.data` is. Host only.
---
--- A value is loaded when it is first touched, and stays while the table is in use; changing it
--- changes nothing in the store. Parameters are read here, too, as they are in a step.
local reading = require "luaflow.client.reading"

local data = {}

local behind = setmetatable({}, { __mode = "k" }) -- one of these → { run =, task = or nil }

local function names_in(fields)
  local of, names = behind[fields].task, {}
  if of == nil then return names end
  local info, message = reading.task(of)
  if info == nil then error(message, 0) end
  for i, artifact in ipairs(info.artifacts) do names[i] = artifact.name end
  return names
end

local Data = { names = names_in }

function Data.__index(fields, name)
  if type(name) ~= "string" then return nil end
  local of = behind[fields]
  if of.task then
    local found, value, code = of.run._store.runtime:artifact(of.run.id, of.task.id, name)
    if found then
      rawset(fields, name, value)
      return value
    end
    if code ~= "notfound" then error(value, 2) end
  end
  return of.run.params[name]
end

function Data.__newindex() error("results cannot be changed", 2) end

function Data.__tostring(fields)
  local of = behind[fields]
  local ok, names = pcall(names_in, fields)
  local text = not ok and names or #names == 0 and "none" or table.concat(names, ", ")
  return ("<data of %s: %s>"):format((of.task or of.run).pathspec, text)
end

local function new(run, task)
  local fields = setmetatable({}, Data)
  behind[fields] = { run = run, task = task }
  return fields
end

local of_tasks = setmetatable({}, { __mode = "kv" })

--- What a task passes on. The same table while it is in use, so that nothing is loaded twice.
function data.of_task(task)
  local fields = of_tasks[task] or new(task.run, task)
  of_tasks[task] = fields
  return fields
end

--- Of a run of which no task has succeeded yet: its parameters.
function data.of_run(run) return new(run) end

return data
