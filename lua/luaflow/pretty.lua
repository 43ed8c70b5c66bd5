--- A value as a person reads it at a prompt: Lua that could be typed again wherever there is
--- such Lua. Host only. Reads tables past their metatables and calls nothing of theirs but
--- __tostring.
local console = require "luaflow.console"
local json = require "luaflow.json"
local door = require "luaflow"

local pretty = {}

local WIDTH = 80
local MAX_DEPTH = 8        -- of tables in tables
local MAX_ITEMS = 100      -- of one table
local MAX_VALUES = 2000    -- of all: tables may hold each other many times over
local MAX_STRING = 2000    -- bytes
local MAX_ELEMENTS = 8     -- of an FFI array
local INDENT = "  "

local COLOURS = { string = "32", number = "36", word = "35", object = "34", note = "2" }

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then
  true until while]]):gmatch("%a+") do
  KEYWORDS[word] = true
end
pretty.KEYWORDS = KEYWORDS

local function grouped(n) return (("%d"):format(n):reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")) end

--- Whether `name` can stand behind a dot.
function pretty.is_name(name)
  return type(name) == "string" and name:find("^[%a_][%w_]*$") ~= nil and not KEYWORDS[name]
end

-- ---- what has no parts ------------------------------------------------------------

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(c, next_one)
  return ESCAPES[c] or ((next_one:find("%d") and "\\%03d" or "\\%d"):format(c:byte()))
end

local function escape_all(s, set) return (s:gsub("(" .. set .. ")()", function(c, after)
  return escape(c, s:sub(after, after))
end)) end

local function quote(s)
  local shown = console.cut(s, MAX_STRING)
  local is_cut = shown ~= s
  if is_cut then shown = shown:sub(1, -#"…" - 1) end
  local is_text = json.is_utf8(shown) and not shown:find("\194[\128-\159]")
  local text = '"' .. escape_all(shown, is_text and '[%c"\\]' or '[%c"\\\127-\255]') .. '"'
  if not is_cut then return text end
  return ("%s… (%s bytes)"):format(text, grouped(#s))
end

local function number(n)
  if n ~= n then return "nan" end
  if n == math.huge or n == -math.huge then return n < 0 and "-inf" or "inf" end
  return json.number(n)
end

-- Where a function was written, or which of LuaJIT's own it is.
local function place(f)
  local about = debug.getinfo(f, "S")
  if about.what == "C" then return (tostring(f):gsub("^function: ", "")) end
  return ("%s:%d"):format(about.short_src, about.linedefined)
end

-- `double[1000] { 1, 2, 3, … }`
local function array(value, name, n)
  local parts = {}
  for i = 0, math.min(n, MAX_ELEMENTS) - 1 do
    local element = value[i]
    parts[#parts + 1] = type(element) == "number" and number(element) or tostring(element)
  end
  if n > MAX_ELEMENTS then parts[#parts + 1] = "…" end
  return ("%s[%s] { %s }"):format(name, grouped(n), table.concat(parts, ", "))
end

local function object(value)
  local ok, text = pcall(tostring, value)
  if not ok then return "<its __tostring fails: " .. tostring(text) .. ">" end
  return console.plain(text)
end

--- A value without parts as its kind of colour and text.
local function leaf(value)
  local kind = type(value)
  if kind == "string" then return "string", quote(value) end
  if kind == "number" then return "number", number(value) end
  if kind == "nil" or kind == "boolean" then return "word", tostring(value) end
  if kind == "function" then return "object", console.plain("<function " .. place(value) .. ">") end
  local name, n = json.array_type(value)
  if name then return "object", array(value, name, n) end
  return kind == "cdata" and tonumber(value) and "number" or "object", object(value)
end

-- ---- what is to be shown, and how wide it is ---------------------------------------

local function cells(text) return select(2, text:gsub("[^\128-\191]", "")) end

local function new_leaf(kind, text) return { kind = kind, text = text, width = cells(text) } end

local look_at

local function key_text(key)
  if pretty.is_name(key) then return key .. " = " end
  local _, text = leaf(key)
  return "[" .. text .. "] = "
end

-- Whether the part before has all of 1..n, so that what follows in order needs no key.
local function look_at_table(t, seen, depth)
  local node = { width = 4 } -- the braces, and blanks inside them
  local expected, left_out = 1, 0
  for key, value in door.sorted_pairs(t) do
    if #node >= MAX_ITEMS or seen.count >= MAX_VALUES then
      left_out = left_out + 1
    else
      local item = look_at(value, seen, depth + 1)
      local is_next = key == expected
      if is_next then expected = expected + 1 else item.key = key_text(key) end
      node[#node + 1] = item
      node.width = node.width + item.width + (item.key and cells(item.key) or 0) + 2
    end
  end
  if left_out > 0 then
    node[#node + 1] = new_leaf("note", ("… %s more"):format(grouped(left_out)))
    node.width = node.width + node[#node].width + 2
  end
  if #node == 0 then return new_leaf(nil, "{}") end
  node.width = node.width - 2
  return node
end

local function has_tostring(t)
  local metatable = debug.getmetatable(t)
  return metatable ~= nil and rawget(metatable, "__tostring") ~= nil
end

function look_at(value, seen, depth)
  seen.count = seen.count + 1
  if type(value) ~= "table" or has_tostring(value) then return new_leaf(leaf(value)) end
  if seen[value] then return new_leaf("note", "<cycle>") end
  if depth >= MAX_DEPTH and next(value) ~= nil then return new_leaf("note", "{…}") end
  seen[value] = true
  local node = look_at_table(value, seen, depth)
  seen[value] = nil
  return node
end

-- ---- writing ----------------------------------------------------------------------

local function write(out, node, indent, room)
  if node.text then
    out[#out + 1] = out.paint(node.kind, node.text)
    return
  end
  local is_flat = node.width <= room
  local inner = indent .. INDENT
  out[#out + 1] = is_flat and "{ " or "{\n"
  for i, item in ipairs(node) do
    if not is_flat then out[#out + 1] = inner end
    if item.key then out[#out + 1] = item.key end
    -- A comma follows.
    write(out, item, inner, is_flat and math.huge or out.width - #inner - cells(item.key or "") - 1)
    local is_last = i == #node
    out[#out + 1] = is_flat and (is_last and "" or ", ") or (is_last and "\n" or ",\n")
  end
  out[#out + 1] = is_flat and " }" or indent .. "}"
end

local function plain(_, text) return text end

local function coloured(kind, text)
  local code = COLOURS[kind]
  return code and "\27[" .. code .. "m" .. text .. "\27[0m" or text
end

--- @param options? { width: integer?, has_colours: boolean? }
function pretty.format(value, options)
  options = options or {}
  local out = {
    width = options.width or WIDTH,
    paint = options.has_colours and coloured or plain,
  }
  write(out, look_at(value, { count = 0 }, 0), "", out.width)
  return table.concat(out)
end

return pretty
