--- What a join step receives: one read-only view for each input, in declared order.
--- Runs in workers.
local inputs = {}

local native   -- reads the store, see step.c
local join     -- the step's name, for messages
local cache    -- slot → { name = value } of what was read

local function missing(slot, name, level)
  error(("flow %s has no artifact '%s' in %s, input %d of step %s")
    :format(native.flow_name(), tostring(name), native.input_path(slot), slot, join), level + 1)
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
  if found == nil then error(got, 3) end
  if found then read[name] = got end
  return found, got
end

local methods = {}

--- Whether this input has the artifact.
function methods.has(input, name) return (find(input._index, name)) end

--- The artifact, or `default` where this input has none.
function methods.get(input, name, default)
  local found, value = find(input._index, name)
  if found then return value end
  return default
end

local Input = {}

function Input.__index(input, name)
  local method = methods[name]
  if method then return method end
  local slot = rawget(input, "_index")
  local found, value = find(slot, name)
  if found then return value end
  missing(slot, name, 2)
end

function Input.__newindex(_, name)
  error(("artifact '%s' of an input cannot be set: assign it to self"):format(tostring(name)), 2)
end

function Input.__tostring(input) return ("<input %s>"):format(native.input_path(input._index)) end

local list_methods = {}

--- The list of every input's `name`, in order. An input without it is an error, unless a
--- default is given.
function list_methods.collect(list, name, ...)
  local values, slot = native.collect(name, select("#", ...) > 0, (...))
  if values then return values end
  if type(slot) == "string" then error(slot, 2) end
  missing(slot, name, 2)
  return list
end

local Inputs = {}

function Inputs.__index(list, name)
  local method = list_methods[name]
  if method or type(name) == "number" then return method end
  local names = {}
  for key in pairs(list) do
    if type(key) == "string" then names[#names + 1] = key end
  end
  table.sort(names)
  error(("step %s has no input '%s'; it has %s"):format(join, tostring(name),
    #names > 0 and table.concat(names, ", ") or ("inputs[1] to inputs[%d]"):format(#list)), 2)
end

function Inputs.__newindex(_, name)
  error(("inputs.%s cannot be set: assign to self"):format(tostring(name)), 2)
end

--- The list for a join of `count` inputs. `names` (slot → list of names) says what else
--- the inputs of a branch answer to.
function inputs.new(step_name, count, names)
  join = step_name
  cache = {}
  local list = {}
  for slot = 1, count do list[slot] = setmetatable({ _index = slot }, Input) end
  for _, entry in ipairs(names) do
    if rawget(list, entry.name) == nil then list[entry.name] = list[entry.slot] end
  end
  return setmetatable(list, Inputs)
end

function inputs.bind(functions) native = functions end

return inputs
