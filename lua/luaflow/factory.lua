--- Makes a function into the bytecode of one that makes such functions. Runs anywhere.
---
--- What string.dump writes of a function is a chunk: it can be loaded once, and gives one function.
--- A task needs one of its own, with upvalues of its own, and to load it anew would throw away what
--- LuaJIT has compiled of it. So it is made what it was where it was written, a function inside
--- another: `function(u1, …, un) return function() … u1 … un … end end`, of which the inner one is
--- exchanged. Layout of the bytecode: lj_bcdump.h of LuaJIT 2.1.
local factory = {}

local byte, char, sub = string.byte, string.char, string.sub

local VERSION = 2 -- of the layout
local STRIPPED = 2 -- a flag of the head: no names follow
local LOCAL, CONSTANT = 0x80, 0x40 -- in the high byte of an upvalue: where it is found; never assigned

--- A number of seven bits a byte at `at`, and where the next thing begins.
local function number_at(code, at)
  local value, shift = 0, 1
  while true do
    local b = byte(code, at)
    at = at + 1
    if b < 128 then return value + b * shift, at end
    value, shift = value + (b - 128) * shift, shift * 128
  end
end

--- The head of a dump, and where each prototype in it begins; the last is that of the function.
local function prototypes(code)
  if byte(code, 4) ~= VERSION then
    error(("this LuaJIT's bytecode has layout %d; luaflow knows layout %d"):format(byte(code, 4), VERSION), 0)
  end
  local flags, at = number_at(code, 5)
  local is_stripped = flags % (2 * STRIPPED) >= STRIPPED
  if not is_stripped then
    local size
    size, at = number_at(code, at)
    at = at + size
  end
  local head, starts = sub(code, 1, at - 1), {}
  while byte(code, at) ~= 0 do
    starts[#starts + 1] = at
    local size, from = number_at(code, at)
    at = from + size
  end
  return head, starts, is_stripped
end

--- Where the upvalues of the prototype at `at` are listed, and how many they are.
local function upvalues_at(code, at, is_stripped)
  local _, size, instructions
  _, at = number_at(code, at)
  local count = byte(code, at + 3) -- after flags, parameters and slots
  _, at = number_at(code, at + 4) -- constants
  _, at = number_at(code, at)
  instructions, at = number_at(code, at)
  if not is_stripped then
    size, at = number_at(code, at)
    if size > 0 then
      _, at = number_at(code, at) -- the first line, and how many there are
      _, at = number_at(code, at)
    end
  end
  return at + 4 * instructions, count
end

--- The prototype of a function of `count` parameters that returns one which has them as upvalues.
local function outer_of(count, is_stripped)
  local names = {}
  for i = 1, count do names[i] = "u" .. i end
  local list = table.concat(names, ", ")
  local make = assert(loadstring(("return function(%s) return function() return %s end end"):format(list, list)))
  local code = string.dump(make(), is_stripped)
  local _, starts = prototypes(code)
  return sub(code, starts[2], -2)
end

--- @return string  bytecode; what it gives, called, is a function like `f`, all its upvalues nil and new
function factory.of(f)
  local code = string.dump(f)
  local head, starts, is_stripped = prototypes(code)
  local at, count = upvalues_at(code, starts[#starts], is_stripped)
  local parts = { head, sub(code, #head + 1, at - 1) }
  for i = 1, count do -- little-endian: its slot, then what it is
    local high = byte(code, at + 2 * i - 1)
    parts[#parts + 1] = char(i - 1, LOCAL + (high % (2 * CONSTANT) >= CONSTANT and CONSTANT or 0))
  end
  parts[#parts + 1] = sub(code, at + 2 * count, -2)
  parts[#parts + 1] = outer_of(count, is_stripped)
  parts[#parts + 1] = "\0"
  return table.concat(parts)
end

return factory
