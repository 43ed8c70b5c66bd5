--- JSON: every value an artifact can have, written so that nothing is lost; and read
--- strictly, as RFC 8259 has it. Runs anywhere.
---
--- What JSON cannot say is written as an object with a `$type`:
---     {"$type":"number","value":"nan"}          nan, inf, -inf
---     {"$type":"int64","value":"9007199254740993"}, uint64
---     {"$type":"bytes","base64":"…"}            a string that is not UTF-8
---     {"$type":"double[]","values":[…]}         an FFI array
---     {"$type":"map","pairs":[[key,value],…]}   a table whose keys are not all strings
---     {"$type":"class","name":"Vec2","value":…} an instance of a registered class
local ffi = require "ffi"
local bit = require "bit"

local json = {}

--- Stands for JSON's `null`, both ways.
json.null = setmetatable({}, { __tostring = function() return "null" end })

local MAX_DEPTH = 200 -- as deep as artifacts go
local MAX_EXACT = 2^53

--- Gives `t`, written as an object with its keys in the order of `keys`, those it
--- lacks left out. An empty one is `{}`.
function json.ordered(keys, t) return setmetatable(t, { __json_keys = keys }) end

--- Stands for JSON text that is ready, inside a table to encode.
function json.raw(text) return setmetatable({}, { __json_text = text }) end

-- ---- writing --------------------------------------------------------------------

local escapes = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f",
  ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
}
local function escape(c) return escapes[c] or ("\\u%04x"):format(c:byte()) end

-- U+0080 to U+009F, which steer some terminals as the control characters before them do.
local function escape_high(second) return ("\\u%04x"):format(second:byte()) end

local function quote(s)
  s = s:gsub('[%c"\\]', escape)
  if s:find("\194[\128-\159]") then s = s:gsub("\194([\128-\159])", escape_high) end
  return '"' .. s .. '"'
end

local function is_continuation(byte) return byte ~= nil and byte >= 0x80 and byte <= 0xBF end

--- Whether `s` is well-formed UTF-8: shortest forms, no surrogates, up to U+10FFFF.
function json.is_utf8(s)
  local at = s:find("[\128-\255]")
  while at do
    local a, b, c, d = s:byte(at, at + 3)
    if a >= 0xC2 and a <= 0xDF and is_continuation(b) then
      at = at + 2
    elseif a >= 0xE0 and a <= 0xEF and is_continuation(b) and is_continuation(c)
      and not (a == 0xE0 and b < 0xA0) and not (a == 0xED and b > 0x9F) then
      at = at + 3
    elseif a >= 0xF0 and a <= 0xF4 and is_continuation(b) and is_continuation(c) and is_continuation(d)
      and not (a == 0xF0 and b < 0x90) and not (a == 0xF4 and b > 0x8F) then
      at = at + 4
    else
      return false
    end
    at = s:find("[\128-\255]", at)
  end
  return true
end

local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(s)
  local out = ffi.new("uint8_t[?]", math.ceil(#s / 3) * 4 + 1)
  local n = 0
  local function put(sextet)
    out[n] = digits:byte(bit.band(sextet, 63) + 1)
    n = n + 1
  end
  for i = 1, #s - 2, 3 do
    local a, b, c = s:byte(i, i + 2)
    local group = a * 65536 + b * 256 + c
    put(bit.rshift(group, 18))
    put(bit.rshift(group, 12))
    put(bit.rshift(group, 6))
    put(group)
  end
  local rest = #s % 3
  if rest > 0 then
    local a, b = s:byte(#s - rest + 1, #s)
    local group = a * 65536 + (b or 0) * 256
    put(bit.rshift(group, 18))
    put(bit.rshift(group, 12))
    if rest == 2 then put(bit.rshift(group, 6)) end
  end
  return ffi.string(out, n) .. ("="):rep(-n % 4)
end

--- A finite number with as many digits as it takes to read the same one back.
function json.number(n)
  if n == 0 then return 1 / n < 0 and "-0.0" or "0" end
  if n % 1 == 0 and n >= -MAX_EXACT and n <= MAX_EXACT then return ("%.0f"):format(n) end
  for precision = 14, 16 do
    local text = ("%." .. precision .. "g"):format(n)
    if tonumber(text) == n then return text end
  end
  return ("%.17g"):format(n)
end

local function number(n)
  if n ~= n then return '{"$type":"number","value":"nan"}' end
  if n == math.huge then return '{"$type":"number","value":"inf"}' end
  if n == -math.huge then return '{"$type":"number","value":"-inf"}' end
  return json.number(n)
end

local int64, uint64 = ffi.typeof("int64_t"), ffi.typeof("uint64_t")

-- What LuaJIT calls an array's element type, and what its user calls it.
local element_names = {}
for name in ("int8_t uint8_t int16_t uint16_t int32_t uint32_t int64_t uint64_t float double"):gmatch("%S+") do
  element_names[tostring(ffi.typeof(name)):match("^ctype<(.*)>$")] = name
end

--- The element type's name and the number of elements of an FFI array; nil when
--- `value` is something else.
function json.array_type(value)
  if type(value) ~= "cdata" then return nil end
  local name = tostring(ffi.typeof(value)):match("^ctype<(.-) ?%[[%d?]+%]>$")
  name = name and element_names[name]
  if name == nil then return nil end
  return name, ffi.sizeof(value) / ffi.sizeof(name)
end

-- A 64-bit integer as text, without LuaJIT's suffix.
local function integer64(value)
  local text = tostring(value):match("^%-?%d+")
  if ffi.istype(int64, value) then
    if value >= -0x20000000000000LL and value <= 0x20000000000000LL then return text end
    return '{"$type":"int64","value":"' .. text .. '"}'
  end
  if value <= 0x20000000000000ULL then return text end
  return '{"$type":"uint64","value":"' .. text .. '"}'
end

local function string_value(s)
  if json.is_utf8(s) then return quote(s) end
  return '{"$type":"bytes","base64":"' .. base64(s) .. '"}'
end

local key_rank = { number = 1, string = 2, boolean = 3 }

local function key_before(a, b)
  local rank_a, rank_b = key_rank[type(a)] or 4, key_rank[type(b)] or 4
  if rank_a ~= rank_b then return rank_a < rank_b end
  if rank_a == 3 then return not a and b end
  if rank_a == 4 then return tostring(a) < tostring(b) end
  return a < b
end

-- The keys of `t`, sorted, and what it is written as: "array", "object" or "map".
local function keys_of(t)
  local keys, is_object = {}, true
  for key in pairs(t) do
    keys[#keys + 1] = key
    -- An object of ours has a "$type"; one of the user's must not pass for it.
    if type(key) ~= "string" or key == "$type" or not json.is_utf8(key) then is_object = false end
  end
  local count = #keys
  if count == 0 then return keys, "array" end
  if not is_object then
    local n = 0
    while t[n + 1] ~= nil do n = n + 1 end
    if n == count then return keys, "array" end
  end
  table.sort(keys, key_before)
  return keys, is_object and "object" or "map"
end

local write

local function write_array(out, n, get, depth)
  out[#out + 1] = "["
  for i = 1, n do
    if i > 1 then out[#out + 1] = "," end
    write(out, get(i), depth)
  end
  out[#out + 1] = "]"
end

local function write_object(out, t, keys, depth)
  local comma = "{"
  for _, key in ipairs(keys) do
    local value = t[key]
    if value ~= nil then
      out[#out + 1] = comma
      out[#out + 1] = quote(key)
      out[#out + 1] = ":"
      write(out, value, depth)
      comma = ","
    end
  end
  out[#out + 1] = comma == "{" and "{}" or "}"
end

local function write_table(out, t, depth)
  if depth > MAX_DEPTH + 8 then -- the documents an artifact is shown in have levels of their own
    error("a table nested this deep cannot be written as JSON", 0)
  end
  local mt = getmetatable(t)
  if mt and mt.__json_text then
    out[#out + 1] = mt.__json_text
    return
  end
  if mt and mt.__json_keys then
    write_object(out, t, mt.__json_keys, depth + 1)
    return
  end
  if mt and mt.__luaflow_class then
    out[#out + 1] = '{"$type":"class","name":' .. string_value(mt.__luaflow_class) .. ',"value":'
  end
  local keys, kind = keys_of(t)
  if kind == "array" then
    write_array(out, #keys, function(i) return t[i] end, depth + 1)
  elseif kind == "object" then
    write_object(out, t, keys, depth + 1)
  else
    out[#out + 1] = '{"$type":"map","pairs":['
    for i, key in ipairs(keys) do
      out[#out + 1] = i > 1 and ",[" or "["
      write(out, key, depth)
      out[#out + 1] = ","
      write(out, t[key], depth + 1)
      out[#out + 1] = "]"
    end
    out[#out + 1] = "]}"
  end
  if mt and mt.__luaflow_class then out[#out + 1] = "}" end
end

function write(out, value, depth)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = string_value(value)
  elseif kind == "number" then
    out[#out + 1] = number(value)
  elseif kind == "boolean" then
    out[#out + 1] = tostring(value)
  elseif value == nil or rawequal(value, json.null) then
    out[#out + 1] = "null"
  elseif kind == "table" then
    write_table(out, value, depth)
  elseif kind == "cdata" and (ffi.istype(int64, value) or ffi.istype(uint64, value)) then
    out[#out + 1] = integer64(value)
  else
    local name, n = json.array_type(value)
    if name == nil then error("a " .. kind .. " cannot be written as JSON", 0) end
    out[#out + 1] = '{"$type":"' .. name .. '[]","values":'
    write_array(out, n, function(i) return value[i - 1] end, depth)
    out[#out + 1] = "}"
  end
end

--- The JSON text of any value an artifact can have; keys are sorted, so equal values
--- give equal text. Raises for anything else.
function json.encode(value)
  local out = {}
  write(out, value, 1)
  return table.concat(out)
end

-- ---- reading --------------------------------------------------------------------

-- Raised inside the reader, caught by json.decode.
local function refuse(text, at, what)
  local line, start = 1, 1
  for newline in text:sub(1, at - 1):gmatch("()\n") do
    line, start = line + 1, newline + 1
  end
  error({ ("%s at line %d, column %d"):format(what, line, at - start + 1) }, 0)
end

local function skip_space(text, at) return text:find("[^ \t\n\r]", at) or #text + 1 end

local plain_escapes = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

local function utf8_of(code)
  local low6 = function(shift) return 0x80 + bit.band(bit.rshift(code, shift), 0x3F) end
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then return string.char(0xC0 + bit.rshift(code, 6), low6(0)) end
  if code < 0x10000 then return string.char(0xE0 + bit.rshift(code, 12), low6(6), low6(0)) end
  return string.char(0xF0 + bit.rshift(code, 18), low6(12), low6(6), low6(0))
end

-- The character of the `\u` at `at`, which may be a pair of surrogates; what follows it.
local function read_unicode(text, at)
  local hex = text:match("^\\u(%x%x%x%x)", at)
  if hex == nil then refuse(text, at, "\\u without four hexadecimal digits") end
  local code = tonumber(hex, 16)
  if code < 0xD800 or code > 0xDFFF then return utf8_of(code), at + 6 end
  local low = tonumber(text:match("^\\u(%x%x%x%x)", at + 6) or "0", 16)
  if code > 0xDBFF or low < 0xDC00 or low > 0xDFFF then refuse(text, at, "half a surrogate pair") end
  return utf8_of(0x10000 + (code - 0xD800) * 0x400 + (low - 0xDC00)), at + 12
end

local function read_string(text, start)
  local parts, at = {}, start + 1
  while true do
    local stop = text:find('[%z\1-\31"\\]', at)
    if stop == nil then refuse(text, start, "a string that does not end") end
    parts[#parts + 1] = text:sub(at, stop - 1)
    local c = text:sub(stop, stop)
    if c == '"' then return table.concat(parts), stop + 1 end
    if c ~= "\\" then refuse(text, stop, "a control character in a string") end
    local escaped = text:sub(stop + 1, stop + 1)
    if escaped == "u" then
      parts[#parts + 1], at = read_unicode(text, stop)
    else
      local plain = plain_escapes[escaped]
      if plain == nil then refuse(text, stop, "an unknown escape") end
      parts[#parts + 1], at = plain, stop + 2
    end
  end
end

local function read_number(text, start)
  local after = text:match("^%-?0()", start) or text:match("^%-?[1-9]%d*()", start)
  if after == nil then refuse(text, start, "not a JSON value") end
  after = text:match("^%.%d+()", after) or after
  after = text:match("^[eE][+-]?%d+()", after) or after
  return tonumber(text:sub(start, after - 1)), after
end

local read

local function read_array(text, at, depth)
  local list, n = {}, 0
  at = skip_space(text, at + 1)
  if text:sub(at, at) == "]" then return list, at + 1 end
  while true do
    n = n + 1
    list[n], at = read(text, at, depth)
    at = skip_space(text, at)
    local c = text:sub(at, at)
    if c == "]" then return list, at + 1 end
    if c ~= "," then refuse(text, at, "expected ',' or ']'") end
    at = skip_space(text, at + 1)
  end
end

local function read_object(text, at, depth)
  local object = {}
  at = skip_space(text, at + 1)
  if text:sub(at, at) == "}" then return object, at + 1 end
  while true do
    if text:sub(at, at) ~= '"' then refuse(text, at, "expected a key in double quotes") end
    local key
    key, at = read_string(text, at)
    at = skip_space(text, at)
    if text:sub(at, at) ~= ":" then refuse(text, at, "expected ':'") end
    object[key], at = read(text, skip_space(text, at + 1), depth)
    at = skip_space(text, at)
    local c = text:sub(at, at)
    if c == "}" then return object, at + 1 end
    if c ~= "," then refuse(text, at, "expected ',' or '}'") end
    at = skip_space(text, at + 1)
  end
end

local literals = { { "true", true }, { "false", false }, { "null", json.null } }

function read(text, at, depth)
  local c = text:sub(at, at)
  if c == '"' then return read_string(text, at) end
  if c == "[" or c == "{" then
    if depth >= MAX_DEPTH then refuse(text, at, "nested deeper than " .. MAX_DEPTH) end
    return (c == "[" and read_array or read_object)(text, at, depth + 1)
  end
  for _, literal in ipairs(literals) do
    if text:sub(at, at + #literal[1] - 1) == literal[1] then return literal[2], at + #literal[1] end
  end
  if c == "" then refuse(text, at, "the text ends too early") end
  return read_number(text, at)
end

--- The value a JSON text stands for; its nulls are `json.null`.
--- @return any? value, string? message  with line and column
function json.decode(text)
  local ok, value, after = pcall(read, text, skip_space(text, 1), 0)
  if ok then
    after = skip_space(text, after)
    if after > #text then return value end
    value = select(2, pcall(refuse, text, after, "something follows the value"))
  end
  if type(value) ~= "table" then error(value, 0) end -- not a refusal, such as out of memory
  return nil, value[1]
end

return json
