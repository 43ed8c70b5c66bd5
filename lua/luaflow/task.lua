--- What `self` is in a step. Runs in workers.
local inputs = require "luaflow.inputs"

-- Kept here: a flow may change its state's libraries, but not what luaflow says.
local byte, concat, format = string.byte, table.concat, string.format
local error, ipairs, next, rawget, rawset = error, ipairs, next, rawget, rawset
local getfenv, getmetatable, setmetatable = getfenv, getmetatable, setmetatable
local tostring, type = tostring, type

local globals = getfenv(0)

local task = {}

local native          -- reads the store, see step.c
local native_register
local registered = {} -- classes of this task: name → metatable before it, or false
local current         -- the self of the task that runs
local step_name
local is_param        -- name → true
local scalars         -- parameters read so far that cannot be changed in place
local tables          -- the others, as this task sees them
local current_inputs  -- what it was called with, if it is a join
local index           -- self.index
local element         -- self.input, once read

--- Read by step.c when the task has ended:
local originals = {}  -- name → value as loaded
local settled = {}    -- name → true: loaded or assigned, so that nil means removed

local methods = {}

local Self = {}

local function check(self, level, method)
  if self == current then return end
  if type(self) == "table" and getmetatable(self) == Self then
    error("this `self` belongs to a task that has ended", level)
  end
  error(format("write self:%s(…), with a colon", method), level)
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
  if type(name) == "string" and byte(name) == 95 then return nil end -- `_`: scratch
  error(format("flow %s has no artifact '%s' in step %s", native.flow_name(), tostring(name), step_name), 2)
end

function Self.__newindex(self, name, value)
  if self ~= current then check(self, 3) end
  if type(name) ~= "string" then
    error(format("an artifact's name is a string, not %s (a %s)", tostring(name), type(name)), 2)
  elseif name == "input" or name == "index" then
    error(format("self.%s is given by the foreach and cannot be set", name), 2)
  elseif methods[name] then
    error(format("self.%s is a method: choose another name for the artifact", name), 2)
  elseif is_param[name] then
    error(format("parameter '%s' cannot be changed: assign to another name", name), 2)
  end
  settled[name] = true
  rawset(self, name, value)
end

function Self.__tostring() return format("<self of step %s>", step_name) end

--- Whether there is an artifact (or a parameter with a value) of this name.
function methods.has(self, name)
  check(self, 3, "has")
  if rawget(self, name) ~= nil then return true end
  if is_param[name] then return parameter(name) ~= nil end
  return (load(self, name))
end

--- The artifact, or `default` where there is none.
function methods.get(self, name, default)
  check(self, 3, "get")
  if methods.has(self, name) then return self[name] end
  return default
end

--- { {step=, index=, size=, input=}, … } of the foreaches around, from the outside in.
function methods.foreach_stack(self)
  check(self, 3, "foreach_stack")
  local stack, message = native.foreach_stack()
  if not stack then error(message, 2) end
  return stack
end

local merge_options = { include = true, exclude = true }

-- Checks the options of merge_artifacts; gives back the names each lists, as sets.
local function merge_sets(options)
  if options == nil then return nil, nil end
  if type(options) ~= "table" then
    error("merge_artifacts: options are a table, { exclude = { … } } or { include = { … } }", 3)
  end
  local sets = {}
  for option, list in next, options do
    if not merge_options[option] then
      error(format("merge_artifacts has no option '%s'; it takes include or exclude", tostring(option)), 3)
    elseif type(list) ~= "table" then
      error(format("merge_artifacts: %s is a list of artifact names", option), 3)
    end
    local set = {}
    for _, name in ipairs(list) do set[name] = true end
    sets[option] = set
  end
  if sets.include and sets.exclude then error("merge_artifacts takes include or exclude, not both", 3) end
  return sets.include, sets.exclude
end

local conflict_text = [[
Step %s cannot merge the following artifacts due to them having conflicting values:
[%s].
To remedy this issue, be sure to explicitly set those artifacts (using self.<artifact_name> = ...) ]] ..
  "prior to calling merge_artifacts."

--- Propagates every artifact that the inputs agree on. `options` may hold `include` or
--- `exclude`, lists of names.
function methods.merge_artifacts(self, given, options)
  check(self, 3, "merge_artifacts")
  if not native.is_join() then
    error(format("merge_artifacts is for joins, and step %s is none", step_name), 2)
  end
  if given ~= current_inputs then
    error("merge_artifacts needs the inputs of this join: self:merge_artifacts(inputs)", 2)
  end
  local include, exclude = merge_sets(options)
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
  for _, name in ipairs(include and options.include or {}) do
    if not known[name] then unknown[#unknown + 1] = "'" .. tostring(name) .. "'" end
  end
  if #unknown > 0 then
    error(format("merge_artifacts: include names %s, which no input has", concat(unknown, ", ")), 2)
  end
  if #clashes > 0 then error(format(conflict_text, step_name, concat(clashes, ", ")), 0) end
  native.propagate(wanted)
end

--- The function of the task's step in a flow table that was just made.
function task.find_step(flow)
  local steps = type(flow) == "table" and flow.steps
  local step = type(steps) == "table" and steps[step_name]
  if type(step) == "table" then step = step[1] end
  if type(step) == "function" then return step end
  error(format("the flow file has no step '%s' this time; a flow must not depend on chance or the clock",
    step_name), 0)
end

--- What the task is called with besides self: it is a join of so many.
function task.make_inputs(count)
  current_inputs = inputs.new(step_name, count, native.input_names())
  return current_inputs
end

--- The step functions of a chunk that need not run anew for every task, since nobody could
--- tell: it reads no global, so it does nothing but build its table, and no step function has
--- an upvalue, so they share nothing. Otherwise nil.
--- @return table?  name → function
function task.steps_alone(chunk)
  local function refuse() error("the chunk reads a global") end
  setfenv(chunk, setmetatable({}, { __index = refuse, __newindex = refuse }))
  local ok, flow = pcall(chunk)
  if not ok or type(flow) ~= "table" or type(flow.steps) ~= "table" then return nil end
  local alone = {}
  for name, step in next, flow.steps do
    if type(step) == "table" then step = step[1] end
    if type(step) == "function" then
      if debug.getinfo(step, "u").nups > 0 then return nil end
      alone[name] = step
    end
  end
  return alone
end

-- A class that a task registers is known until it ends; one that a module registers while it
-- is loaded, as long as the module.
local function register(name, metatable)
  if getfenv(0) ~= globals and registered[name] == nil then
    registered[name] = native.registered(name) or false
  end
  native_register(name, metatable)
end

local function forget_classes()
  for name, before in next, registered do
    if before then native_register(name, before) else native.unregister(name) end
    registered[name] = nil
  end
end

--- Forgets what the last task read, and with the flow's description also its run.
function task.reset(description)
  if current_inputs then inputs.finish() end
  current, current_inputs, element = nil, nil, nil
  if next(registered) ~= nil then forget_classes() end
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

--- A task of step `name` begins, of another run than the last if there is a description.
--- `place_input` is its element, or nil if it is to be asked for. Gives back its self. step.c calls
--- the step itself, so that what a step finds below its own frames is none of ours.
function task.begin(name, place_index, place_input, description)
  task.reset(description)
  step_name, index, element = name, place_index, place_input
  current = setmetatable({}, Self)
  return current
end

--- Tells this module the functions of step.c; gives it what step.c reads afterwards.
function task.bind(functions)
  native, native_register = functions, functions.register
  functions.register = register
  inputs.bind(functions)
  return originals, settled
end

return task
