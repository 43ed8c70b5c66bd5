--- Makes a state fit for many tasks: what one task declares or loads must not trip the
--- next. Runs in workers, and wherever a flow file is loaded.
local ffi = require "ffi"
local native = require "luaflow.native"

local isolation = {}

local globals = getfenv(0)
local exit = os.exit

--- Modules beside the flow file come first, and are loaded with the state's own globals,
--- whatever the environment of the task that asks first.
local function search_beside(directory)
  package.path = directory .. "/?.lua;" .. directory .. "/?/init.lua;" .. package.path
  local require_module = require
  function globals.require(name)
    local environment = getfenv(0)
    local before = package.loaded[name]
    setfenv(0, globals)
    local ok, result = pcall(require_module, name)
    setfenv(0, environment)
    if ok then return result end
    if before == nil then package.loaded[name] = nil end -- else the next one finds a leftover
    error(result, 2)
  end
end

--- LuaJIT refuses a second definition of a struct and makes a new type of every anonymous
--- one. A flow file runs once per task, so the same declaration again means the same type.
local function declare_once()
  local cdef, typeof, metatype = ffi.cdef, ffi.typeof, ffi.metatype
  local new, cast, sizeof, istype = ffi.new, ffi.cast, ffi.sizeof, ffi.istype
  local alignof, offsetof = ffi.alignof, ffi.offsetof
  local declared, types, dressed = {}, {}, {}

  function ffi.cdef(text, ...)
    if select("#", ...) > 0 then return cdef(text, ...) end
    if declared[text] then return end
    local ok, message = pcall(cdef, text)
    if not ok then error(message, 2) end
    declared[text] = true
  end

  local function type_of(ct)
    local known = types[ct]
    if known == nil then
      known = typeof(ct)
      types[ct] = known
    end
    return known
  end

  --- Only a definition in braces makes a new type each time.
  local function known_type(ct)
    if type(ct) == "string" and ct:find("{", 1, true) then return type_of(ct) end
    return ct
  end

  function ffi.typeof(ct, ...)
    if type(ct) == "string" and select("#", ...) == 0 then return type_of(ct) end
    return typeof(ct, ...)
  end

  function ffi.new(ct, ...) return new(known_type(ct), ...) end
  function ffi.cast(ct, ...) return cast(known_type(ct), ...) end
  function ffi.sizeof(ct, ...) return sizeof(known_type(ct), ...) end
  function ffi.istype(ct, ...) return istype(known_type(ct), ...) end
  function ffi.alignof(ct) return alignof(known_type(ct)) end
  function ffi.offsetof(ct, field) return offsetof(known_type(ct), field) end

  function ffi.metatype(ct, metatable)
    local known = type(ct) == "string" and type_of(ct) or typeof(ct)
    local id = tonumber(known)
    if not dressed[id] then
      metatype(known, metatable)
      dressed[id] = true
    end
    return known
  end
end

local define = ffi.typeof

--- How full the table of C types is: it holds 65,536 and never shrinks. Each call uses up
--- one more.
function isolation.types_in_use() return tonumber(define("struct { int probe; }")) end

--- Programs that a step starts hear signals, see state_children.c.
local function start_programs()
  os.execute = native.execute -- luacheck: ignore 122
  local popen = io.popen
  io.popen = function(...) -- luacheck: ignore 122
    local before = native.open_signals()
    local ok, file, message, code = pcall(popen, ...)
    native.close_signals(before)
    if not ok then error(file, 2) end
    return file, message, code
  end
end

--- A step may choose another default file; the next one finds the first again.
local function watch_default_files()
  for _, name in ipairs { "output", "input" } do
    local original = io[name]
    io[name] = function(...) -- luacheck: ignore 122
      if select("#", ...) > 0 then native.io_changed() end
      return original(...)
    end
  end
end

--- getfenv(print) and the like would give a step the globals of its state: it gets its own.
local function keep_globals_apart()
  local original = getfenv
  function globals.getfenv(f)
    if f == nil then f = 1 end
    if type(f) == "number" and f > 0 then f = f + 2 end -- this function, and pcall
    local ok, environment = pcall(original, f)
    if not ok then error(environment, 2) end
    if environment == globals then return original(0) end
    return environment
  end
end

local function refuse_exit(message)
  os.exit = function() error(message, 2) end -- luacheck: ignore 122
end

--- What a worker's state needs beyond isolation.furnish, and after it. Once per state. A step
--- with a process of its own may end it.
function isolation.furnish_worker(own_process)
  if own_process then
    os.exit = exit -- luacheck: ignore 122
  else
    refuse_exit("os.exit needs isolate: set isolate = true on the step")
  end
  start_programs()
  watch_default_files()
  keep_globals_apart()
end

--- Prepares this state for the flow file in `directory`. Once per state.
function isolation.furnish(directory)
  search_beside(directory)
  declare_once()
  refuse_exit("a flow file must not call os.exit while it is loaded or gives a default; use error to refuse")
end

return isolation
