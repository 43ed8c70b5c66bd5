--- Flows given as Lua tables: taken from the state they were written in to any other. Packing runs
--- in the host's state, unpacking wherever a flow's chunk is loaded.
---
--- A parcel is plain data, which the codec can write. Every table, function and other thing that
--- is told apart by identity is a node, known by its number, so that cycles and whatever two
--- functions share are the same on the other side:
---
---     { luajit=, path=, cpath=, steps={ [name] = node }, classes={ node, … }, codes={ bytecode, … },
---       cells={ { value= } or { node= } or {}, … },          -- upvalues; several functions may have one
---       nodes={ { kind="table", values={ [key] = plain value }, links={ { key, node }, … },
---                 metatable=node, class=name },              -- class: the table is its metatable
---               { kind="function", code=, cells={ cell, … } },
---               { kind="named", module=, field=, title= },   -- a library's, or a required module's
---               { kind="array", value= }, { kind="type", name= }, { kind="globals" }, … } }
---
--- The first node is the flow. It is never stored: a LuaJIT that loads bytecode must trust it.
local ffi = require "ffi"
local factory = require "luaflow.factory"
local listing = require "luaflow.listing"
local native = require "luaflow.native"
local new_table = require "table.new"

local ship = {}

local globals = _G
local getfenv, setfenv, setmetatable = getfenv, setfenv, setmetatable
local next, pairs, type, unpack = next, pairs, type, unpack
local setupvalue, upvaluejoin = debug.setupvalue, debug.upvaluejoin

local DEFAULT_NAME = "PromptFlow"

local function set_of(words)
  local set = {}
  for word in words:gmatch("%S+") do set[word] = true end
  return set
end

--- The LuaJIT whose bytecode a parcel has.
local function this_luajit() return ("%s %s"):format(jit.version, jit.arch) end

-- ---- C types --------------------------------------------------------------------

local type_names = {} -- of the elements that an array may have, as LuaJIT writes them
for element in ("int8_t uint8_t int16_t uint16_t int32_t uint32_t int64_t uint64_t float double"):gmatch("%S+") do
  type_names[tostring(ffi.typeof(element)):match("<(.*)>")] = true
end

local function is_ctype(value) return tostring(value):find("^ctype<") ~= nil end

--- "double [?]"; nil for a type whose declaration another state would lack.
local function type_name(ctype)
  local name = tostring(ctype):match("^ctype<(.*)>$")
  if not (name:find("struct ", 1, true) or name:find("union ", 1, true) or name:find("enum ", 1, true)) then
    return name
  end
end

local function is_array(value)
  local element = tostring(ffi.typeof(value)):match("^ctype<(.*) %[[%d?]+%]>$")
  return element ~= nil and type_names[element:gsub("^const ", "")] ~= nil
end

local function is_whole(value)
  return not is_ctype(value) and (ffi.istype("int64_t", value) or ffi.istype("uint64_t", value))
end

-- ---- what goes by name ------------------------------------------------------------

local STANDARD = set_of [[_G bit coroutine debug ffi io jit jit.opt jit.profile jit.util math os package string
  string.buffer table table.clear table.new]]
local BASE = set_of [[assert collectgarbage dofile error gcinfo getfenv getmetatable ipairs load loadfile loadstring
  module newproxy next pairs pcall print rawequal rawget rawlen rawset require select setfenv setmetatable tonumber
  tostring type unpack xpcall]]
local PLAIN = set_of "nil boolean number string"

--- Whether a worker's standard library has this too: neither a function written in Lua nor a table,
--- which somebody has added.
local function is_builtin(module, key, value)
  if module == "_G" then return BASE[key] end
  if type(value) == "table" then return module == "package" end
  if type(value) ~= "function" then return true end
  local info = debug.getinfo(value, "S")
  return info.what == "C" or info.short_src:find("^%[builtin:") ~= nil
end

--- Finds whatever a module is or has: { [thing] = { module=, field= } }, the standard libraries' first.
local function find_names()
  local modules, names = {}, { [globals] = { globals = true } }
  for name in pairs(package.loaded) do modules[#modules + 1] = name end
  table.sort(modules, function(a, b)
    if (STANDARD[a] or false) ~= (STANDARD[b] or false) then return STANDARD[a] end
    return a < b
  end)
  for _, name in ipairs(modules) do
    local module = package.loaded[name]
    if not PLAIN[type(module)] and not names[module] then names[module] = { module = name } end
  end
  for _, name in ipairs(modules) do
    local module = package.loaded[name]
    for key, value in next, type(module) == "table" and module or {} do
      if type(key) == "string" and not PLAIN[type(value)] and not names[value]
        and (not STANDARD[name] or is_builtin(name, key, value)) then
        names[value] = { module = name, field = key }
      end
    end
  end
  return names
end

-- ---- where something was found ----------------------------------------------------
--
-- A trail leads from a step (or another root) over upvalues and fields to a thing:
-- { root="step 'a'" }, { up=trail, upvalue="helpers" }, { up=trail, key="open" }.

local function key_text(key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then return "." .. key end
  return ("[%s]"):format(type(key) == "string" and ("%q"):format(key) or tostring(key))
end

--- From the inside out, { "upvalue 'socket'", "upvalue 'helpers.open'" }, or nil at the root; and the root.
local function place_of(trail)
  local path, places = "", {}
  while trail.up do
    if trail.upvalue then
      places[#places + 1] = ("upvalue '%s%s'"):format(trail.upvalue, path)
      path = ""
    else
      path = (trail.key ~= nil and key_text(trail.key) or ".<metatable>") .. path
    end
    trail = trail.up
  end
  if path ~= "" then places[#places + 1] = ("field '%s'"):format(path:gsub("^%.", "")) end
  return places[1] and places, trail.root
end

--- "step 'a' cannot be sent to a worker: upvalue 'socket' of its upvalue 'helpers.open'"
local function complaint(trail)
  local places, root = place_of(trail)
  if places then places[#places] = "its " .. places[#places] end
  return ("%s cannot be sent to a worker: %s"):format(root, places and table.concat(places, " of ") or "it")
end

--- "upvalue 'helpers.open' of step 'a'"
local function title(trail)
  local places, root = place_of(trail)
  return places and ("%s of %s"):format(table.concat(places, " of "), root) or root
end

-- ---- packing ----------------------------------------------------------------------

local Packer = {}
Packer.__index = Packer

local MAKE_INSIDE = "make it inside the step, or in a module that the step requires"

function Packer:refuse(trail, what, cure)
  self.problems[#self.problems + 1] = ("%s %s; %s"):format(complaint(trail), what, cure)
end

--- The number of the node for `value`, which will be looked at later.
function Packer:number(value, trail)
  local number = self.numbers[value]
  if not number then
    number = #self.parcel.nodes + 1
    self.parcel.nodes[number] = {}
    self.numbers[value] = number
    self.queue[number] = { value = value, trail = trail }
  end
  return number
end

local function is_plain(value) return PLAIN[type(value)] or (type(value) == "cdata" and is_whole(value)) end

function Packer:add_cell(f, index, trail)
  local name, value = debug.getupvalue(f, index)
  local cell = {}
  self.parcel.cells[#self.parcel.cells + 1] = cell
  if is_plain(value) then
    cell.value = value
  else
    cell.node = self:number(value, { up = trail, upvalue = name:find("%w") and name or "#" .. index })
  end
  return #self.parcel.cells
end

--- All strings by which a function might name something, and those of the functions inside it.
function Packer:note_words(f)
  local constant_of = self.constant_of
  if not constant_of then return end
  local index = -1
  while true do
    local constant = constant_of(f, index)
    if constant == nil then return end
    if type(constant) == "string" then self.words[#self.words + 1] = constant end
    if type(constant) == "proto" then self:note_words(constant) end
    index = index - 1
  end
end

function Packer:add_code(f, trail)
  local code = factory.of(f)
  local number = self.code_numbers[code]
  if not number then
    number = #self.parcel.codes + 1
    self.parcel.codes[number], self.code_numbers[code] = code, number
    self:note_words(f)
    self.functions[#self.functions + 1] = { f = f, title = title(trail) }
  end
  return number
end

local describe = {} -- type → fills the node of a value

describe["function"] = function(self, node, f, trail)
  if debug.getinfo(f, "S").what == "C" then
    return self:refuse(trail, "is a C function without a name",
      "take it from a module that the step requires, or from a standard library")
  end
  node.kind, node.cells = "function", {}
  node.code = self:add_code(f, trail)
  for i = 1, debug.getinfo(f, "u").nups do
    local id = debug.upvalueid(f, i)
    self.cell_numbers[id] = self.cell_numbers[id] or self:add_cell(f, i, trail)
    node.cells[i] = self.cell_numbers[id]
  end
end

local function by_key(a, b)
  if type(a.key) ~= type(b.key) then return type(a.key) < type(b.key) end
  if type(a.key) == "boolean" then return not a.key and b.key end
  return a.key < b.key
end

function describe.table(self, node, t, trail)
  local metatable, values, found = debug.getmetatable(t), {}, {}
  node.kind = "table"
  if metatable then
    if not native.class(metatable) then
      return self:refuse(trail, "is a table with a metatable", "luaflow.register(\"Name\", metatable) lets its "
        .. "instances through; or " .. MAKE_INSIDE)
    end
    node.metatable = self:number(metatable, { up = trail })
  end
  for key, value in next, t do
    if type(key) ~= "string" and type(key) ~= "number" and type(key) ~= "boolean" then
      return self:refuse(trail, ("has a key that is a %s"):format(type(key)), "use strings, numbers or booleans")
    elseif is_plain(value) then
      values[key] = value
    else
      found[#found + 1] = { key = key, value = value }
    end
  end
  if next(values) ~= nil then node.values = values end
  if not found[1] then return end
  table.sort(found, by_key) -- the order of nodes is the same every time
  node.links = {}
  for i, link in ipairs(found) do
    node.links[i] = { link.key, self:number(link.value, { up = trail, key = link.key }) }
  end
end

function describe.cdata(self, node, value, trail)
  if is_ctype(value) and type_name(value) then
    node.kind, node.name = "type", type_name(value)
  elseif not is_ctype(value) and is_array(value) then
    node.kind, node.value = "array", value
  else
    self:refuse(trail, is_ctype(value) and "is a C type that was declared here" or "is a cdata", MAKE_INSIDE
      .. " (numbers of 64 bits and arrays of numbers can be sent)")
  end
end

function describe.userdata(self, _, _, trail)
  self:refuse(trail, "is a userdata", "open it inside the step, or in a module that the step requires")
end

function describe.thread(self, _, _, trail) self:refuse(trail, "is a coroutine", MAKE_INSIDE) end

--- Says what the node is, and numbers what it leads to.
function Packer:describe(node, value, trail)
  local name = not self.own[value] and self.names[value]
  if type(value) == "table" then node.class = native.class(value) end
  if node.class then self.parcel.classes[#self.parcel.classes + 1] = self.numbers[value] end
  if not name then return describe[type(value)](self, node, value, trail) end
  if name.globals then
    node.kind, self.words[#self.words + 1] = "globals", "_G"
    return
  end
  node.kind, node.module, node.field, node.title = "named", name.module, name.field, title(trail)
  if name.module ~= "_G" then self.words[#self.words + 1] = name.module end
  if not STANDARD[name.module] then self.words[#self.words + 1] = "require" end
  self.words[#self.words + 1] = name.field
end

local function sorted_names(t)
  local names = {}
  for name in next, t do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- Numbers the flow's own tables, which never go by name, and its functions, so that they are known by
--- their step or parameter.
function Packer:number_own(flow)
  local function own(value, root)
    self:number(value, { root = root })
    self.own[value] = true
    return value
  end
  local function each(t, what)
    local names = type(t) == "table" and sorted_names(own(t, "the flow")) or {}
    for i, name in ipairs(names) do
      local value = t[name]
      names[i] = { name = name, value = value }
      if type(value) == "table" then own(value, ("%s '%s'"):format(what, name)) end
    end
    return names
  end
  own(flow, "the flow")
  for _, step in ipairs(each(rawget(flow, "steps"), "step")) do
    local f = type(step.value) == "table" and rawget(step.value, 1) or step.value
    if type(f) == "function" then
      self.parcel.steps[step.name] = self:number(f, { root = ("step '%s'"):format(step.name) })
    end
  end
  for _, param in ipairs(each(rawget(flow, "params"), "parameter")) do
    local f = type(param.value) == "table" and rawget(param.value, "default")
    if type(f) == "function" then self:number(f, { root = ("the default of parameter '%s'"):format(param.name) }) end
  end
end

--- The flow's name where its table has none: the base name of the file of its first step, as for a
--- flow file.
local function default_name(flow)
  local steps = rawget(flow, "steps")
  local start = type(steps) == "table" and rawget(steps, "start")
  if type(start) == "table" then start = rawget(start, 1) end
  local source = type(start) == "function" and debug.getinfo(start, "S").source or ""
  local base = source:match("^@.-([^/]+)$")
  return base and base:gsub("%.lua$", "") or DEFAULT_NAME
end

--- Packs a flow's table. Besides the parcel, gives the text of its functions as far as it is known,
--- the words by which they may name something, and how messages call the flow.
--- @param name string?  the flow's name where its table has none
--- @return table? parcel, string textOrMessage, string? words, string? name
function ship.pack(flow, name)
  local has_util, util = pcall(require, "jit.util")
  local packer = setmetatable({
    parcel = { luajit = this_luajit(), path = package.path, cpath = package.cpath, steps = {}, classes = {},
      codes = {}, cells = {}, nodes = {} },
    numbers = {}, cell_numbers = {}, code_numbers = {}, own = {}, queue = {}, problems = {}, functions = {},
    constant_of = has_util and util.funck,
    words = { not has_util and "debug" or nil }, -- what they name cannot be told
    names = find_names(),
  }, Packer)
  packer:number_own(flow)
  local at = 1
  while packer.queue[at] do
    packer:describe(packer.parcel.nodes[at], packer.queue[at].value, packer.queue[at].trail)
    packer.queue[at] = nil
    at = at + 1
  end
  if packer.problems[1] then return nil, table.concat(packer.problems, "\n") end
  local own_name = rawget(flow, "name")
  if type(own_name) == "string" then name = own_name end
  return packer.parcel, listing.of(packer.functions), table.concat(packer.words, "\n"), name or default_name(flow)
end

-- ---- unpacking --------------------------------------------------------------------

local Unpacker = {}
Unpacker.__index = Unpacker

--- The thing that a node names, as this state has it.
--- @return any value, string? message  nil when it does not have it
local function find_named(node)
  local ok, module = pcall(globals.require, node.module)
  if not ok then
    return nil, ("%s goes to workers by its name, but module '%s' is not found there: %s"):format(node.title,
      node.module, module)
  end
  local value = module
  if node.field then value = type(module) == "table" and module[node.field] or nil end
  if value == nil then
    return nil, ("%s goes to workers by its name, but module '%s' has no '%s' there; use what the module itself "
      .. "defines"):format(node.title, node.module, node.field)
  end
  return value
end

--- Finds what tasks share, once per state, as the modules themselves are loaded. What is missing is
--- missed by those steps alone that need it: a host may add modules to some states and not to others.
function Unpacker:find_all()
  self.shared, self.missing = {}, {}
  for number, node in ipairs(self.parcel.nodes) do
    if node.kind == "named" then
      self.shared[number], self.missing[number] = find_named(node)
    elseif node.kind == "type" then
      self.shared[number] = ffi.typeof(node.name)
    end
  end
end

--- Which cells a function has: those that are filled when it is made, and later from other things;
--- and those of another function, which made them first.
function Unpacker:plan_function(plan, number, follow)
  local node, parcel = self.parcel.nodes[number], self.parcel
  local call = { number = number, make = self.makers[node.code], values = {}, count = #node.cells }
  for i, cell_number in ipairs(node.cells) do
    local cell, owner = parcel.cells[cell_number], plan.owners[cell_number]
    if owner then
      plan.joins[#plan.joins + 1] = { number, i, owner.number, owner.index }
    else
      plan.owners[cell_number] = { number = number, index = i }
      call.values[i] = cell.value
      if cell.node then
        call.values[i] = self.shared[cell.node]
        if call.values[i] == nil then plan.fills[#plan.fills + 1] = { number, i, follow(cell.node) } end
      end
    end
  end
  plan.calls[#plan.calls + 1] = call
end

--- What a table holds, and what it will be given.
function Unpacker:plan_table(plan, number, follow)
  local node, values = self.parcel.nodes[number], {}
  for key, value in pairs(node.values or {}) do values[key] = value end
  for _, link in ipairs(node.links or {}) do
    values[link[1]] = self.shared[link[2]]
    if values[link[1]] == nil then plan.links[#plan.links + 1] = { number, link[1], follow(link[2]) } end
  end
  local count = 0
  for _ in pairs(values) do count = count + 1 end
  plan.tables[#plan.tables + 1] = { number = number, values = values, n_list = #values, n_other = count - #values }
  if node.metatable and self.shared[node.metatable] == nil then follow(node.metatable) end
  if node.metatable or node.class then
    plan.objects[#plan.objects + 1] = { number = number, metatable = node.metatable, class = node.class }
  end
end

--- What must be made anew so that the node `root` can be, the classes with it.
function Unpacker:plan(root)
  local parcel = self.parcel
  local plan = { root = root, globals = {}, arrays = {}, tables = {}, calls = {}, links = {}, objects = {}, fills = {},
    joins = {}, owners = {} }
  local queue, seen = {}, {}
  local function follow(number)
    if not seen[number] then
      seen[number] = true
      queue[#queue + 1] = number
    end
    return number
  end
  follow(root)
  for _, number in ipairs(parcel.classes) do follow(number) end
  local at = 1
  while queue[at] do
    local number = queue[at]
    local kind = parcel.nodes[number].kind
    if self.missing[number] then error(self.missing[number], 0) end
    if kind == "function" then
      self:plan_function(plan, number, follow)
    elseif kind == "table" then
      self:plan_table(plan, number, follow)
    elseif kind == "array" then
      plan.arrays[#plan.arrays + 1] = number
    elseif kind == "globals" then
      plan.globals[#plan.globals + 1] = number
    elseif parcel.nodes[number].class then
      plan.objects[#plan.objects + 1] = { number = number, class = parcel.nodes[number].class }
    end
    at = at + 1
  end
  return plan
end

local function copy_array(array)
  local ctype = ffi.typeof(array)
  local copy = ffi.new(ctype, ffi.sizeof(array) / ffi.sizeof(ctype, 1))
  ffi.copy(copy, array, ffi.sizeof(array))
  return copy
end

--- First everything is made, then it is tied together: there may be cycles. The loops are what a
--- task pays for: plain ones, since LuaJIT compiles none of this.
function Unpacker:build(plan, environment)
  local nodes, shared, made = self.parcel.nodes, self.shared, {}
  local globals_here, arrays, tables, calls = plan.globals, plan.arrays, plan.tables, plan.calls
  local links, fills, joins, objects = plan.links, plan.fills, plan.joins, plan.objects
  for i = 1, #globals_here do made[globals_here[i]] = environment end
  for i = 1, #arrays do made[arrays[i]] = copy_array(nodes[arrays[i]].value) end
  for i = 1, #tables do
    local entry = tables[i]
    local copy = new_table(entry.n_list, entry.n_other)
    for key, value in next, entry.values do copy[key] = value end
    made[entry.number] = copy
  end
  for i = 1, #calls do
    local call = calls[i]
    made[call.number] = setfenv(call.make, environment)(unpack(call.values, 1, call.count))
  end
  for i = 1, #links do
    local link = links[i]
    made[link[1]][link[2]] = made[link[3]]
  end
  for i = 1, #fills do
    local fill = fills[i]
    setupvalue(made[fill[1]], fill[2], made[fill[3]])
  end
  for i = 1, #joins do
    local join = joins[i]
    upvaluejoin(made[join[1]], join[2], made[join[3]], join[4])
  end
  for i = 1, #objects do
    local number, metatable, class = objects[i].number, objects[i].metatable, objects[i].class
    if metatable then setmetatable(made[number], made[metatable] or shared[metatable]) end
    if class then native.register(class, made[number] or shared[number]) end
  end
  local value = made[plan.root]
  if value == nil then value = shared[plan.root] end
  return value
end

--- The chunk that a flow file would be. Where the flow is looked at (`whole`), it returns the flow's
--- table; in a worker, one whose steps are made when they are asked for, each with no more than it
--- needs.
function ship.unpack(parcel, whole)
  if parcel.luajit ~= this_luajit() then
    error(("the functions of this flow were compiled by %s and cannot be run by %s; put the flow into a file, or let "
      .. "both be the same LuaJIT"):format(parcel.luajit, this_luajit()), 0)
  end
  package.path, package.cpath = parcel.path, parcel.cpath
  local unpacker = setmetatable({ parcel = parcel, makers = {} }, Unpacker)
  for i, code in ipairs(parcel.codes) do unpacker.makers[i] = assert(loadstring(code)) end
  if whole then
    return function()
      unpacker:find_all()
      return unpacker:build(unpacker:plan(1), getfenv(1))
    end
  end
  local plans, environment = {}, nil
  local flow = { steps = setmetatable({}, {
    __index = function(_, name)
      local plan = plans[name]
      if not plan then
        plan = unpacker:plan(parcel.steps[name])
        plans[name] = plan
      end
      return unpacker:build(plan, environment)
    end,
  }) }
  return function()
    if not unpacker.shared then unpacker:find_all() end
    environment = getfenv(1)
    return flow
  end
end

return ship
