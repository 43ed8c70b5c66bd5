--- What a join step receives: one read-only view for each input, in declared order.
--- Runs in workers.

-- Kept here: a flow may change its state's libraries, but not what luaflow says.
local concat, format, sort = table.concat, string.format, table.sort
local error, ipairs, pairs, rawget, select = error, ipairs, pairs, rawget, select
local getmetatable, setmetatable, tostring, type = getmetatable, setmetatable, tostring, type

local inputs = {}

local native   -- reads the store, see step.c
local join     -- the step's name, for messages
local cache    -- slot → { name = value } of what was read
local current  -- the list of the join that runs, or nil

local SLOT = {} -- of an input, its place in the list
local LIST = {} -- of its metatable, the list

local function missing(slot, name, level)
  error(format("flow %s has no artifact '%s' in %s, input %d of step %s",
    native.flow_name(), tostring(name), native.input_path(slot), slot, join), level + 1)
end

local function find(slot, name)
  local read = cache[slot]
  if read == nil then
    read = {}
    cache[slot] = read
  end
  local value = read[name]
  if value ~= nil then return true, value end
  if type(name) ~= "string" then return false end
  local found, got = native.load(slot, name)
  if found == false then found, got = native.param(name) end
  if found == nil then error(got, 3) end
  if found then read[name] = got end
  return found, got
end

local methods = {}

local function check(list, level)
  if list ~= current then error("these inputs belong to a join that has ended", level + 1) end
end

local function slot_of(input, method)
  local slot = type(input) == "table" and rawget(input, SLOT)
  if not slot then error(format("write input:%s(…), with a colon", method), 3) end
  check(getmetatable(input)[LIST], 3)
  return slot
end

--- Whether this input has the artifact.
function methods.has(input, name)
  local slot = slot_of(input, "has")
  return (find(slot, name))
end

--- The artifact, or `default` where this input has none.
function methods.get(input, name, default)
  local slot = slot_of(input, "get")
  local found, value = find(slot, name)
  if found then return value end
  return default
end

-- What all inputs of one join have in common.
local function new_metatable(list)
  local Input = { [LIST] = list }

  function Input.__index(input, name)
    local method = methods[name]
    if method then return method end
    check(list, 2)
    local slot = rawget(input, SLOT)
    local found, value = find(slot, name)
    if found then return value end
    missing(slot, name, 2)
  end

  function Input.__newindex(_, name)
    error(format("artifact '%s' of an input cannot be set: assign it to self", tostring(name)), 2)
  end

  function Input.__tostring(input)
    if list ~= current then return "<input of a join that has ended>" end
    return format("<input %s>", native.input_path(rawget(input, SLOT)))
  end

  return Input
end

local Inputs = {}
local list_methods = {}

--- The list of every input's `name`, in order. An input without it is an error, unless a
--- default is given.
function list_methods.collect(list, name, ...)
  if type(list) ~= "table" then error("write inputs:collect(…), with a colon", 2) end
  check(list, 2)
  if type(name) ~= "string" then
    error(format("inputs:collect needs the name of an artifact, not a %s", type(name)), 2)
  end
  local values, slot = native.collect(name, select("#", ...) > 0, (...))
  if values then return values end
  if type(slot) == "string" then error(slot, 2) end
  return missing(slot, name, 1)
end

function Inputs.__index(list, name)
  local method = list_methods[name]
  if method or type(name) == "number" then return method end
  local names = {}
  for key in pairs(list) do
    if type(key) == "string" then names[#names + 1] = key end
  end
  sort(names)
  error(format("step %s has no input '%s'; it has %s", join, tostring(name),
    #names > 0 and concat(names, ", ") or format("inputs[1] to inputs[%d]", #list)), 2)
end

function Inputs.__newindex(_, name)
  error(format("inputs.%s cannot be set: assign to self", tostring(name)), 2)
end

--- The list for a join of `count` inputs. `names` (slot → list of names) says what else
--- the inputs of a branch answer to.
function inputs.new(step_name, count, names)
  join = step_name
  cache = {}
  local list = {}
  local Input = new_metatable(list)
  for slot = 1, count do list[slot] = setmetatable({ [SLOT] = slot }, Input) end
  for _, entry in ipairs(names) do
    if rawget(list, entry.name) == nil then list[entry.name] = list[entry.slot] end
  end
  current = setmetatable(list, Inputs)
  return current
end

--- The join has ended: what it was given cannot be read any more.
function inputs.finish() current, cache = nil, nil end

function inputs.bind(functions) native = functions end

return inputs
