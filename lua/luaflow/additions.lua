--- What a host adds to a state that it is shown, so that a step in a process of its own, where
--- nothing is added, can be told what it misses. Runs in a state made for that.
local additions = {}

local globals = getfenv(0)

--- The names of all globals, and those of the fields of each table among them with a dot.
local function names_there()
  local names = {}
  for name, value in pairs(globals) do
    names[name] = true
    if type(value) == "table" and value ~= globals then
      for field in pairs(value) do
        if type(field) == "string" then names["." .. field] = true end
      end
    end
  end
  return names
end

--- A set of what `require` gives without looking for a file.
local function modules_there()
  local modules = {}
  for _, known in ipairs { package.preload, package.loaded } do
    for name in pairs(known) do modules[name] = true end
  end
  return modules
end

local function is_file(name, path, path_before)
  return path ~= path_before and package.searchpath(name, path) ~= nil
end

--- Looks at the state as it is before anything is added.
--- @return function  find(message) → string?  to be called afterwards: what was added and, as the
--- error message of a failure has it, is not there
function additions.look()
  local names, modules, path, cpath = names_there(), modules_there(), package.path, package.cpath
  return function(message)
    local module = message:match("module '([^']+)' not found")
    if module then
      local added = modules_there()[module] and not modules[module]
      if added or is_file(module, package.path, path) or is_file(module, package.cpath, cpath) then return module end
    end
    local name = message:match("attempt to .- '([^']+)' %(a nil value%)")
    if not name then return nil end
    local now = names_there()
    if now[name] and not names[name] or now["." .. name] and not names["." .. name] then return name end
    return nil
  end
end

return additions
