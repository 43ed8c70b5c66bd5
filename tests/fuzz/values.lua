--- What values.c cannot make without Lua. Runs in the state of a fuzz target.
local ffi = require "ffi"
local luaflow = require "luaflow"

-- Debian's LuaJIT (March 2022) may compile a recursion through `pairs` into a loop without end.
jit.off(true, true)

local values = {}

local ELEMENTS = {
  [0] = "int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t", "int64_t", "uint64_t", "float", "double",
}

--- A class that is known. Instances of others are plain tables with a metatable.
local Known = {}
Known.__index = Known
luaflow.register("Known", Known)

function values.integer64(bytes, is_signed)
  local n = ffi.new(is_signed and "int64_t[1]" or "uint64_t[1]")
  ffi.copy(n, bytes, #bytes)
  return n[0]
end

-- By width: the integers of it, the bits of infinity, those of the one NaN, all but the sign.
local FLOATING = {
  float = { type = ffi.typeof "uint32_t *", infinity = 0x7f800000, nan = 0x7fc00000, sign = 0x80000000 },
  double = {
    type = ffi.typeof "uint64_t *", infinity = 0x7ff0000000000000ULL, nan = 0x7ff8000000000000ULL,
    sign = 0x8000000000000000ULL,
  },
}

-- LuaJIT must not read a NaN with other bits as a number: it would take it for a pointer.
local function is_nan(bits, floating)
  return (bits >= floating.sign and bits - floating.sign or bits) > floating.infinity
end

--- Whether an array of a target has NaNs of all kinds, or the one alone.
values.has_any_nans = false

--- An FFI array of element `e` whose memory is `bytes`.
function values.array(e, bytes)
  local element = ELEMENTS[e]
  local n = math.floor(#bytes / ffi.sizeof(element))
  local array = ffi.new(element .. "[?]", n)
  ffi.copy(array, bytes, n * ffi.sizeof(element))
  local floating = FLOATING[element]
  if floating and not values.has_any_nans then
    local bits = ffi.cast(floating.type, array)
    for i = 0, n - 1 do
      if is_nan(bits[i], floating) then bits[i] = floating.nan end
    end
  end
  return array
end

function values.object(t, which)
  if which % 4 < 3 then return setmetatable(t, Known) end
  return t
end

function values.many(value, n, has_hole)
  local list = {}
  for i = 1, n do list[i] = value == value and value + i or value end
  if has_hole then list[math.floor(n / 2)] = nil end
  return list
end

local thread = coroutine.create(function() end)
local cycle = {}
cycle.self = { cycle }

local odd = {
  [0] = function(self) return self end,
  function(self, inputs) return self, inputs end,
  function(...) return ... end,
  function() end,
  function(a, b, c) return a, b, c end,
  print,
  ffi.cast,
  thread,
  io.stdout,
  ffi.new("struct { int x; }"),
  ffi.typeof("int"),
  cycle,
  setmetatable({}, { __tostring = function() error "tostring" end, __index = function() error "index" end }),
  setmetatable({}, {}),
  newproxy(true),
  loadstring("return 1", "a\nname"),
}

function values.odd(which) return odd[which % 16] end

local function element_of(array) return tostring(ffi.typeof(array)):match "^ctype<(.-) ?%[" end

local function same_cdata(a, b)
  if tostring(ffi.typeof(a)) ~= tostring(ffi.typeof(b)) or ffi.sizeof(a) ~= ffi.sizeof(b) then return false end
  local element = element_of(a)
  local floating = FLOATING[element]
  if not element then return a == b end
  if not floating then return ffi.string(a, ffi.sizeof(a)) == ffi.string(b, ffi.sizeof(b)) end
  local bits_a, bits_b = ffi.cast(floating.type, a), ffi.cast(floating.type, b)
  for i = 0, ffi.sizeof(a) / ffi.sizeof(element) - 1 do
    local are_nans = is_nan(bits_a[i], floating) and is_nan(bits_b[i], floating)
    if not are_nans and bits_a[i] ~= bits_b[i] then return false end
  end
  return true
end

--- Whether two values are the same, as SPEC 2 has it: every NaN is one, and 0 is not -0.
function values.same(a, b)
  if type(a) ~= type(b) then return false end
  if type(a) == "number" then return a == b and 1 / a == 1 / b or a ~= a and b ~= b end
  if type(a) == "cdata" then return same_cdata(a, b) end
  if type(a) ~= "table" then return a == b end
  if getmetatable(a) ~= getmetatable(b) then return false end
  for key, value in pairs(a) do
    if not values.same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

--- Whether every NaN in FFI arrays of `value` is the one. Those of plain numbers cannot be told
--- apart in Lua.
function values.has_settled_nans(value)
  if type(value) == "table" then
    for _, element in pairs(value) do
      if not values.has_settled_nans(element) then return false end
    end
  elseif type(value) == "cdata" then
    local element = element_of(value)
    local floating = FLOATING[element]
    if not floating then return true end
    local bits = ffi.cast(floating.type, value)
    for i = 0, ffi.sizeof(value) / ffi.sizeof(element) - 1 do
      if is_nan(bits[i], floating) and bits[i] ~= floating.nan then return false end
    end
  end
  return true
end

return values
