--- Artifacts' canonical bytes as text: JSON, or what stands for a value that is too long.
--- Host only.
local console = require "luaflow.console"
local core = require "luaflow.core"
local json = require "luaflow.json"

local values = {}

-- Canonical bytes: how long the head of a string or an ext is, by its first byte. (The last
-- byte of an ext's head is its type.)
local STRING_HEAD = { [0xd9] = 2, [0xda] = 3, [0xdb] = 5, [0xc4] = 2, [0xc5] = 3, [0xc6] = 5 }
local EXT_HEAD = {
  [0xd4] = 2, [0xd5] = 2, [0xd6] = 2, [0xd7] = 2, [0xd8] = 2, [0xc7] = 3, [0xc8] = 4, [0xc9] = 6,
}
local EXT_CLASS, EXT_ARRAY = 3, 16 -- and above

-- What canonical bytes stand for, told without decoding them; of a string or an FFI array
-- also how many bytes it has.
local function look_at(bytes)
  local first = bytes:byte()
  if first >= 0xa0 and first <= 0xbf then return "string", #bytes - 1 end
  if STRING_HEAD[first] then return "string", #bytes - STRING_HEAD[first] end
  if EXT_HEAD[first] then
    local ext = bytes:byte(EXT_HEAD[first])
    if ext >= EXT_ARRAY then return "array", #bytes - EXT_HEAD[first] end
    return ext == EXT_CLASS and "class" or "number"
  end
  if first >= 0x90 and first <= 0x9f or first == 0xdc or first == 0xdd then return "list" end
  if first >= 0x80 and first <= 0x8f or first == 0xde or first == 0xdf then return "table" end
  if first == 0xc0 then return "nil" end
  return (first == 0xc2 or first == 0xc3) and "boolean" or "number"
end

local OMITTED = { "$type", "kind", "size" }

-- What stands for a value of `size` bytes that is too long to be shown.
local function omitted(kind, size, is_json)
  if not is_json then return ("(%s, %s)"):format(kind, console.plural(size, "byte")) end
  return json.encode(json.ordered(OMITTED, { ["$type"] = "omitted", kind = kind, size = size }))
end

-- As text no value is much shorter than its bytes, so what is far above the limit need not
-- be decoded to know that it is.
local function is_far_above(size, limit) return size > 8 * limit + 64 end

--- A value as JSON or, if that takes more than `limit` bytes, its kind and size: for people,
--- or as JSON too.
--- @return string? text, string? message, string? code
function values.text(bytes, limit, is_json)
  local kind, size = look_at(bytes)
  if size and size > limit or not size and is_far_above(#bytes, limit) then
    return omitted(kind, size or #bytes, is_json)
  end
  local ok, value, why = core.decode_marked(bytes)
  if not ok then return nil, value, why end
  local text = json.encode(value)
  if not size and #text > limit then return omitted(kind, #text, is_json) end
  return text
end

--- A value as JSON, cut after about `limit` bytes.
function values.short(bytes, limit)
  local kind, size = look_at(bytes)
  if is_far_above(#bytes, limit) then return omitted(kind, size or #bytes) end
  local ok, value = core.decode_marked(bytes)
  if not ok then return omitted(kind, size or #bytes) end
  return console.cut(json.encode(value), limit)
end

return values
