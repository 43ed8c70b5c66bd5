--- The door: what `require "luaflow"` gives. Runs anywhere; in a step, `luaflow.current` says
--- where. In a host's state it has what starts runs and reads results, too (luaflow.host).
local luaflow = {}

-- Given by whoever made this state: luaflow itself for a step, else the C module, which a host
-- that finds this file by itself has not loaded yet.
if package.loaded["luaflow.native"] == nil then require "luaflow.core" end
local native = require "luaflow.native"
local is_host = package.loaded["luaflow.core"] ~= nil

local order = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local kind_a, kind_b = type(a), type(b)
  if kind_a ~= kind_b then return (order[kind_a] or 4) < (order[kind_b] or 4) end
  if kind_a == "number" or kind_a == "string" then return a < b end
  if kind_a == "boolean" then return not a and b end
  return tostring(a) < tostring(b)
end

--- Like `pairs`, but in an order that is the same every time: numbers before strings
--- before booleans, each ascending.
function luaflow.sorted_pairs(t)
  if type(t) ~= "table" then
    error(("luaflow.sorted_pairs needs a table, not a %s"):format(type(t)), 2)
  end
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, before)
  local i = 0
  return function()
    i = i + 1
    local key = keys[i]
    if key ~= nil then return key, t[key] end
  end
end

--- Instances of `metatable` may be stored from here on: as `name` and a plain table, which
--- gets the metatable back on load. Registering a name again replaces its metatable.
function luaflow.register(name, metatable)
  if type(name) ~= "string" or name == "" then
    error("luaflow.register needs the class's name: luaflow.register(\"Vec2\", Vec2)", 2)
  elseif type(metatable) ~= "table" then
    error(("luaflow.register(%q, …) needs a metatable, not a %s"):format(name, type(metatable)), 2)
  end
  native.register(name, metatable)
  return metatable
end

if is_host then
  for name, value in pairs(require "luaflow.host") do luaflow[name] = value end
end

local FOR_HOSTS = {
  run = true, start = true, resume = true, check = true, poll = true, use = true,
  Flow = true, Run = true, Step = true, Task = true, Artifact = true,
}

local function refuse(name)
  return function()
    error(("luaflow.%s is for hosts: a step can neither start runs nor read their results"):format(name), 2)
  end
end

return setmetatable(luaflow, {
  __index = function(_, name)
    if name == "current" and native.current then return native.current() end
    if FOR_HOSTS[name] and not is_host then return refuse(name) end
  end,
})
