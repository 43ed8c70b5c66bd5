--- The stores that this state has open, each once, and which one is meant where none is named.
--- Host only.
---
--- A store is { directory =, place = what core.place says of it, runtime = what core.open gives,
--- lives = { [id] = a run started here that has not ended (luaflow.live) } }.
local core = require "luaflow.core"

local stores = {}

local chosen -- by luaflow.use
local opened = {} -- what a directory is (core.place) and how it was opened → store

local function nearest()
  local here = core.cwd()
  while here do
    local candidate = (here == "/" and "" or here) .. "/.luaflow"
    if core.is_directory(candidate) then return candidate end
    here = here ~= "/" and here:gsub("/[^/]*$", "") or nil
    if here == "" then here = "/" end
  end
end

--- The directory of the store that is meant where none is named: $LUAFLOW_STORE, else the nearest
--- .luaflow here or above, else ./.luaflow.
function stores.default()
  local from_environment = os.getenv("LUAFLOW_STORE")
  if from_environment and from_environment ~= "" then return from_environment end
  return nearest() or ".luaflow"
end

local function absolute(directory)
  local here = directory:sub(1, 1) ~= "/" and core.cwd()
  return here and here .. "/" .. directory or directory
end

--- From here on `directory` is meant; nil: the default again.
function stores.use(directory) chosen = directory and absolute(directory) end

-- The command runs isolated steps in itself; others say, or know by $LUAFLOW_EXE, what does.
local function own_executable()
  local process = package.loaded["luaflow.process"]
  return process and process.executable()
end

local function key_of(place, options)
  return table.concat({ place, options.executable or "", tostring(options.wait_for_host) }, "\n")
end

-- Of a store whose directory was removed nothing can be read any more.
local function drop_removed()
  for key, store in pairs(opened) do
    if store.runtime:place() == nil and next(store.lives) == nil then
      opened[key] = nil
      store.runtime:close()
    end
  end
end

local function keep(directory, options, runtime)
  drop_removed()
  local place = runtime:place()
  local store = { directory = directory, place = place, runtime = runtime, lives = {} }
  opened[key_of(place, options)] = store
  return store
end

--- Opens a store, once for each way to open it. All options may be absent: `directory`, `create`
--- it when it is not there, the `executable` in which isolated steps run, `wait_for_host`.
--- @return table? store, string? message, string? code
function stores.open(options)
  local directory = absolute(options.directory or chosen or stores.default())
  options = {
    store = directory, create = options.create, wait_for_host = options.wait_for_host or false,
    executable = options.executable or own_executable(),
  }
  local place = core.place(directory)
  local store = place and opened[key_of(place, options)]
  if store then return store end
  local runtime, message, code = core.open(options)
  if runtime == nil and code == "notfound" then
    return nil, ("there is no store at %s: luaflow.run makes one, luaflow.use names another"):format(directory), code
  end
  if runtime == nil then return nil, message, code end
  return keep(directory, options, runtime)
end

--- The run of this number, of this store however it was opened, if it goes on here.
--- @return table? live
function stores.live(store, id)
  for _, other in pairs(opened) do
    if other.place == store.place and other.lives[id] then return other.lives[id] end
  end
end

--- All that are open.
function stores.each() return pairs(opened) end

--- Whether this is called by what hears an event.
function stores.is_delivering()
  for _, store in pairs(opened) do
    if store.runtime:is_delivering() then return true end
  end
  return false
end

return stores
