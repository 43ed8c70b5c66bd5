--- What could follow what was typed so far. Host only. Calls nothing of the user's: it looks
--- into tables, and asks luaflow's own objects, which say in their metatables what they have:
--- `fields` and `methods` by name, `names(object)` for what differs from object to object.
local pretty = require "luaflow.pretty"

local complete = {}

local MAX_LISTED = 200

-- ---- where the cursor is ----------------------------------------------------------

-- Where the string begins that is open at the end of `text`, or nil; "comment" in one.
local function open_string(text)
  local at = 1
  while true do
    local from, to, mark = text:find('(["\'%-%[])', at)
    if from == nil then return nil end
    if mark == '"' or mark == "'" then
      local close = to + 1
      while text:sub(close, close) ~= mark do
        if close > #text then return to + 1 end
        close = close + (text:sub(close, close) == "\\" and 2 or 1)
      end
      at = close + 1
    elseif mark == "-" and text:sub(from, from + 1) == "--" then
      return "comment"
    elseif mark == "[" and text:find("^%[=*%[", from) then
      local equals = text:match("^%[(=*)%[", from)
      local _, close = text:find("]" .. equals .. "]", from, true)
      if close == nil then return "comment" end -- nothing to complete in it either
      at = close + 1
    else
      at = to + 1
    end
  end
end

-- The keys that lead to what stands at the end of `text`, first the global's name: { "a", 1, "b" }
-- for `x = a[1].b`. Nil where that is anything but names and constants.
local function chain(text)
  local before, index = text:match("^(.-)%[%s*(%d+)%s*%]$")
  if index then
    local keys = chain(before)
    return keys and (table.insert(keys, tonumber(index)) or keys)
  end
  local name
  before, name = text:match("^(.*)%[%s*\"([^\"\\]*)\"%s*%]$")
  if name == nil then before, name = text:match("^(.*)%[%s*'([^'\\]*)'%s*%]$") end
  if name then
    local keys = chain(before)
    return keys and (table.insert(keys, name) or keys)
  end
  before, name = text:match("^(.-)([%a_][%w_]*)$")
  if name == nil or before:find("%w$") or before:find(":$") then return nil end
  if not before:find("%.$") or before:find("%.%.$") then return { name } end
  local keys = chain(before:sub(1, -2))
  return keys and (table.insert(keys, name) or keys)
end

-- ---- what things have -------------------------------------------------------------

local MAX_CLASSES = 20 -- above each other

-- Looks up a key the way Lua does, as far as that calls nothing.
local function raw_get(value, key)
  for _ = 1, MAX_CLASSES do
    if type(value) ~= "table" then return nil end
    local found = rawget(value, key)
    if found ~= nil then return found end
    local metatable = debug.getmetatable(value)
    value = metatable and rawget(metatable, "__index")
  end
end

-- What luaflow's own objects say they have, or nil.
local function described(value)
  local metatable = type(value) == "table" and debug.getmetatable(value)
  if not metatable then return nil end
  if type(rawget(metatable, "fields")) == "table" or type(rawget(metatable, "names")) == "function" then
    return metatable
  end
end

local function get(value, key)
  if type(value) == "string" then return string[key] end
  local about = described(value)
  if about == nil then return raw_get(value, key) end
  local ok, found = pcall(function() return value[key] end)
  if ok then return found end
end

local function is_callable(value)
  local metatable = type(value) ~= "function" and debug.getmetatable(value)
  return type(value) == "function" or metatable and type(metatable.__call) == "function"
end

local function add_keys(names, t, methods_only)
  for key, value in next, t do
    if pretty.is_name(key) and (not methods_only or is_callable(value)) then names[key] = true end
  end
end

-- The names of what `value` has, as a set.
local function names_of(value, methods_only)
  local names = {}
  if type(value) == "string" then
    if methods_only then add_keys(names, string, true) end
    return names
  end
  local about = described(value)
  if about then
    add_keys(names, about.methods or {}, true)
    if methods_only then return names end
    add_keys(names, about.fields or {})
    local ok, list = pcall(about.names or function() return {} end, value)
    for _, name in ipairs(ok and list or {}) do
      if pretty.is_name(name) then names[name] = true end
    end
    return names
  end
  for _ = 1, MAX_CLASSES do
    if type(value) ~= "table" then break end
    add_keys(names, value, methods_only)
    local metatable = debug.getmetatable(value)
    value = metatable and rawget(metatable, "__index")
  end
  return names
end

-- ---- candidates -------------------------------------------------------------------

-- Those that begin so, sorted. What begins with `_` is shown to who asks for it.
local function matching(names, prefix)
  local list = {}
  for name in pairs(names) do
    local is_hidden = name:find("^[_.]") and prefix == ""
    if name:sub(1, #prefix) == prefix and not is_hidden then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

local function files(typed, list_directory)
  local directory, prefix = typed:match("^(.*/)([^/]*)$")
  if directory == nil then directory, prefix = "./", typed end
  local names = {}
  for _, name in ipairs(list_directory(directory) or {}) do
    if name ~= "./" and name ~= "../" then names[name] = true end
  end
  return matching(names, prefix), prefix
end

local function members(before, prefix, globals)
  local base, mark = before:match("^(.*)([.:])$")
  if base:find("[.:]$") then return {} end -- `..` and `::`
  local value
  if base:find("[\"']%)?$") then
    value = ""
  else
    local keys = chain(base)
    if keys == nil then return {} end
    value = globals
    for _, key in ipairs(keys) do value = get(value, key) end
  end
  return matching(names_of(value, mark == ":"), prefix)
end

--- What could stand where the text ends: the whole names, sorted, and how much of them is there.
---   list_directory(path) → the names in it or nil
--- @return string[] candidates, string prefix
function complete.candidates(text, globals, list_directory)
  local quote = open_string(text)
  if quote == "comment" then return {}, "" end
  if quote then return files(text:sub(quote), list_directory) end
  local before, prefix = text:match("^(.-)([%a_]?[%w_]*)$")
  if before:find("[.:]$") and not before:find("%.%.$") then return members(before, prefix, globals), prefix end
  if before:find("%w$") then return {}, "" end -- the number before it
  local names = names_of(globals)
  if prefix ~= "" then
    for word in pairs(pretty.KEYWORDS) do names[word] = true end
  end
  return matching(names, prefix), prefix
end

-- What all of them begin with.
local function common(names)
  local prefix = names[1]
  for _, name in ipairs(names) do
    while name:sub(1, #prefix) ~= prefix do prefix = prefix:sub(1, -2) end
  end
  return prefix
end

--- Names in columns, each line ended.
function complete.columns(names, width)
  local left_out = #names - MAX_LISTED
  local widest = 0
  for i = 1, math.min(#names, MAX_LISTED) do widest = math.max(widest, #names[i]) end
  local per_line = math.max(1, math.floor((width + 1) / (widest + 2)))
  local n_lines = math.ceil(math.min(#names, MAX_LISTED) / per_line)
  local lines = {}
  for row = 1, n_lines do
    local cells = {}
    for i = row, math.min(#names, MAX_LISTED), n_lines do
      cells[#cells + 1] = ("%-" .. widest .. "s"):format(names[i])
    end
    lines[row] = table.concat(cells, "  "):gsub(" +$", "") .. "\n"
  end
  if left_out > 0 then lines[#lines + 1] = ("… %d more\n"):format(left_out) end
  return table.concat(lines)
end

--- What Tab does.
---   where: { globals =, list_directory =, width = }
--- @return string? insert, string? show
function complete.tab(text, where)
  if not text:find("%S") then return "  " end -- the beginning of a line is indented
  local names, prefix = complete.candidates(text, where.globals, where.list_directory)
  if #names == 0 then return nil end
  local insert, quote = common(names):sub(#prefix + 1), open_string(text)
  -- A file that is alone there ends its string; a directory goes on.
  if quote and #names == 1 and not names[1]:find("/$") then insert = insert .. text:sub(quote - 1, quote - 1) end
  if insert ~= "" then return insert end
  if #names > 1 then return nil, complete.columns(names, where.width) end
end

return complete
