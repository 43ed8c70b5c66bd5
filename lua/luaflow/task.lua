--- What `self` is in a step, and the call of the step itself. Runs in workers.
local inputs = require "luaflow.inputs"

local task = {}

local native          -- reads the store, see step.c
local current         -- the self of the task that runs
local step_name
local is_param        -- name → true
local scalars         -- parameters read so far that cannot be changed in place
local tables          -- the others, as this task sees them
local index           -- self.index
local element         -- self.input, once read

--- Read by step.c when the task has ended:
local originals = {}  -- name → value as loaded
local settled = {}    -- name → true: loaded or assigned, so that nil means removed

local methods = {}

local function check(self, level)
  if self ~= current then error("this `self` belongs to a task that has ended", level) end
end

--- Finds an artifact that nobody touched yet; from then on it is a plain field of self.
local function load(self, name)
  if settled[name] or type(name) ~= "string" then return false end
  local found, value = native.fetch(name)
  if found == nil then error(value, 3) end
  if found then
    settled[name] = true
    originals[name] = value
    rawset(self, name, value)
  end
  return found, value
end

local function parameter(name)
  local value = scalars[name]
  if value == nil then value = tables[name] end
  if value ~= nil then return value end
  local found
  found, value = native.param(name)
  if found == nil then error(value, 2) end
  if not found then return nil end
  local kind = type(value)
  if kind == "table" or kind == "cdata" then tables[name] = value else scalars[name] = value end
  return value
end

local Self = {}

function Self.__index(self, name)
  if self ~= current then check(self, 3) end
  local method = methods[name]
  if method then return method end
  if is_param[name] then return parameter(name) end
  if name == "index" then return index end
  if name == "input" then
    if element == nil then
      local found, value = native.element()
      if found == nil then error(value, 2) end
      element = value
    end
    return element
  end
  local found, value = load(self, name)
  if found then return value end
  if type(name) == "string" and name:byte() == 95 then return nil end -- `_`: scratch
  error(("flow %s has no artifact '%s' in step %s")
    :format(native.flow_name(), tostring(name), step_name), 2)
end

function Self.__newindex(self, name, value)
  if self ~= current then check(self, 3) end
  if type(name) ~= "string" then
    error(("an artifact's name is a string, not %s (a %s)"):format(tostring(name), type(name)), 2)
  elseif name == "input" or name == "index" then
    error(("self.%s is given by the foreach and cannot be set"):format(name), 2)
  elseif methods[name] then
    error(("self.%s is a method: choose another name for the artifact"):format(name), 2)
  elseif is_param[name] then
    error(("parameter '%s' cannot be changed: assign to another name"):format(name), 2)
  end
  settled[name] = true
  rawset(self, name, value)
end

function Self.__tostring() return ("<self of step %s>"):format(step_name) end

--- Whether there is an artifact (or a parameter with a value) of this name.
function methods.has(self, name)
  check(self, 3)
  if rawget(self, name) ~= nil then return true end
  if is_param[name] then return parameter(name) ~= nil end
  return (load(self, name))
end

--- The artifact, or `default` where there is none.
function methods.get(self, name, default)
  check(self, 3)
  if methods.has(self, name) then return self[name] end
  return default
end

--- { {step=, index=, size=, input=}, … } of the foreaches around, from the outside in.
function methods.foreach_stack(self)
  check(self, 3)
  local stack, message = native.foreach_stack()
  if not stack then error(message, 2) end
  return stack
end

local function name_set(list, option)
  if list == nil then return nil end
  if type(list) ~= "table" then
    error(("merge_artifacts: %s is a list of artifact names"):format(option), 3)
  end
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

local conflict_text = [[
Step %s cannot merge the following artifacts due to them having conflicting values:
[%s].
To remedy this issue, be sure to explicitly set those artifacts (using self.<artifact_name> = ...) ]] ..
  "prior to calling merge_artifacts."

--- Propagates every artifact that the inputs agree on. `options` may hold `include` or
--- `exclude`, lists of names.
function methods.merge_artifacts(self, given, options)
  check(self, 3)
  if not native.is_join() then
    error(("merge_artifacts is for joins, and step %s is none"):format(step_name), 2)
  end
  if given == nil then error("merge_artifacts needs the inputs: self:merge_artifacts(inputs)", 2) end
  options = options or {}
  local include, exclude = name_set(options.include, "include"), name_set(options.exclude, "exclude")
  if include and exclude then error("merge_artifacts takes include or exclude, not both", 2) end
  local names, conflicts = native.merge()
  if not names then error(conflicts, 2) end
  local known, wanted, clashes = {}, {}, {}
  for i, name in ipairs(names) do
    known[name] = true
    local chosen = not (exclude and exclude[name]) and (not include or include[name])
    if chosen and not settled[name] and not is_param[name] then
      wanted[#wanted + 1] = name
      if conflicts[i] then clashes[#clashes + 1] = name end
    end
  end
  local unknown = {}
  for _, name in ipairs(options.include or {}) do
    if not known[name] then unknown[#unknown + 1] = "'" .. tostring(name) .. "'" end
  end
  if #unknown > 0 then
    error(("merge_artifacts: include names %s, which no input has"):format(table.concat(unknown, ", ")), 2)
  end
  if #clashes > 0 then error(conflict_text:format(step_name, table.concat(clashes, ", ")), 0) end
  native.propagate(wanted)
end

--- Runs step `name` of a flow table that was just made; gives back its self. `join_inputs`
--- is how many a join has, nil for other steps.
function task.run(flow, name, place_index, join_inputs)
  step_name, index = name, place_index
  local self = setmetatable({}, Self)
  current = self
  local step = flow.steps[name]
  if type(step) == "table" then step = step[1] end
  if type(step) ~= "function" then
    error(("the flow file has no step '%s' this time; a flow must not depend on chance or the clock")
      :format(name), 0)
  end
  if join_inputs then
    step(self, inputs.new(name, join_inputs, native.input_names()))
  else
    step(self)
  end
  return self
end

--- Forgets what the last task read. With the flow's description another run begins.
function task.reset(description)
  current, element = nil, nil
  if next(settled) ~= nil then
    for name in next, settled do settled[name] = nil end
    for name in next, originals do originals[name] = nil end
  end
  if description then
    is_param, scalars, tables = {}, {}, {}
    for _, param in ipairs(description.params) do is_param[param.name] = true end
  elseif next(tables) ~= nil then
    tables = {}
  end
end

--- Tells this module the functions of step.c; gives it what step.c reads afterwards.
function task.bind(functions)
  native = functions
  inputs.bind(functions)
  return originals, settled
end

return task
