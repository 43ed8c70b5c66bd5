--- Any value becomes JSON that anyone can read, and any text is read, or refused with a place.
local fuzz = require "fuzz"
local json = require "luaflow.json"

local target = {}

-- ---- what RFC 8259 calls JSON, said in another way than luaflow.json reads it -------------------

local is_value

local function skip(text, at) return text:match("^[ \t\n\r]*()", at) end

local function string_end(text, at)
  if text:sub(at, at) ~= '"' then return nil end
  at = at + 1
  while true do
    at = text:match('^[^%z\1-\31"\\]*()', at)
    local c = text:sub(at, at)
    if c == '"' then return at + 1 end
    if c ~= "\\" then return nil end
    at = text:match('^\\["\\/bfnrt]()', at) or text:match("^\\u%x%x%x%x()", at)
    if not at then return nil end
  end
end

local function list_end(text, at, close, element)
  at = skip(text, at + 1)
  if text:sub(at, at) == close then return at + 1 end
  while true do
    at = element(text, at)
    if not at then return nil end
    at = skip(text, at)
    local c = text:sub(at, at)
    if c == close then return at + 1 end
    if c ~= "," then return nil end
    at = skip(text, at + 1)
  end
end

local function pair_end(text, at)
  at = string_end(text, at)
  at = at and text:match("^[ \t\n\r]*:()", at)
  return at and is_value(text, skip(text, at))
end

function is_value(text, at)
  local c = text:sub(at, at)
  if c == '"' then return string_end(text, at) end
  if c == "[" then return list_end(text, at, "]", is_value) end
  if c == "{" then return list_end(text, at, "}", pair_end) end
  local word = text:match("^true()", at) or text:match("^false()", at) or text:match("^null()", at)
  if word then return word end
  local after = text:match("^%-?0()", at) or text:match("^%-?[1-9]%d*()", at)
  if not after then return nil end
  after = text:match("^%.%d+()", after) or after
  return text:match("^[eE][+-]?%d+()", after) or after
end

local function is_json(text)
  local after = is_value(text, skip(text, 1))
  return after ~= nil and skip(text, after) == #text + 1
end

-- ---- the cases ------------------------------------------------------------------------------------

function target.value(value)
  local ok, text = pcall(json.encode, value)
  if not ok then
    assert(not fuzz.encode(value), "a value that can be stored has no JSON: " .. tostring(text))
    return
  end
  assert(is_json(text), "no JSON")
  assert(json.is_utf8(text) and not text:find "[%z\1-\31]", "bytes that are no text")
  local back, message = json.decode(text)
  assert(back ~= nil or message:find "nested deeper", message) -- a map is three levels of JSON
end

function target.text(text)
  local value, message = json.decode(text)
  if value == nil then
    assert(type(message) == "string" and message:find "at line %d+, column %d+$", message)
    assert(not is_json(text) or message:find "surrogate" or message:find "nested deeper", message)
    return
  end
  assert(is_json(text), "what is no JSON was read")
  local once = json.encode(value)
  assert(is_json(once))
  if once:find("$type", 1, true) then return end -- is not interpreted
  assert(json.encode((json.decode(once))) == once, "another text of the same value")
end

return target
