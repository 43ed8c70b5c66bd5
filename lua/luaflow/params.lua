--- What a run is given from outside: checks values against what a flow declares of its
--- parameters. Runs anywhere.
---
--- A spec is an entry of `params` in a flow's normal table (luaflow.flow).
local json = require "luaflow.json"
local nearest = require "luaflow.nearest"

local params = {}

local MAX_EXACT = 2^53
local MAX_DIGITS = 16 -- of 2^53
local SHOWN = 60 -- letters of a value in a message

--- The types, and how a message calls their values.
params.types = {
  string = "a string",
  number = "a number",
  integer = "an integer",
  boolean = "a boolean (true, false, yes, no, 1 or 0)",
  json = "a json value",
  file = "a file (the path of one)",
}

--- How a message shows a value.
function params.shown(value)
  if type(value) == "table" then return "a table" end
  if type(value) == "function" then return "a function" end
  local text = tostring(value)
  if #text > SHOWN then text = text:sub(1, SHOWN) .. "…" end
  return type(value) == "string" and "'" .. text .. "'" or text
end

-- ---- one value ------------------------------------------------------------------
--
-- Below, true and the value (nil for JSON's null), or false and, where there is more to
-- say than that it has the wrong type, a reason.

--- JSON's nulls read as nil, at any depth.
local function without_nulls(value)
  if value == json.null then return nil end
  if type(value) == "table" then
    for key, element in pairs(value) do value[key] = without_nulls(element) end
  end
  return value
end

local function read_number(text)
  local plain = text:match("^[+-]?%.?%d[%d.]*[eE]?[+-]?%d*$") or text:match("^[+-]?0[xX]%x+$")
  local number = plain and tonumber(plain)
  if number == nil or math.abs(number) == math.huge then return false end
  return true, number
end

local function is_integer(value)
  return type(value) == "number" and value % 1 == 0 and math.abs(value) <= MAX_EXACT
end

--- The digits of a number as its text has them, without zeros in front, and how to write a
--- number like that; nil for one that is not whole, or is a very long one.
local function exact_digits(text)
  local hex = text:match("^[+-]?0[xX]0*(%x+)$")
  if hex then return hex:lower(), "%x" end
  local whole, fraction, exponent = text:match("^[+-]?(%d*)%.?(%d*)[eE]?([+-]?%d*)$")
  local digits, zeros = (whole .. fraction):match("^0*(.-)(0*)$")
  if digits == "" then return "0", "%.0f" end
  local n_zeros = #zeros - #fraction + (tonumber(exponent) or 0)
  if n_zeros < 0 or n_zeros > MAX_DIGITS then return nil end
  return digits .. ("0"):rep(n_zeros), "%.0f"
end

--- A number that was rounded is not the one that was given.
local function read_integer(text)
  local ok, number = read_number(text)
  if not ok or number % 1 ~= 0 then return false end
  local digits, format = exact_digits(text)
  if digits and is_integer(number) and format:format(math.abs(number)) == digits then return true, number end
  return false, "only whole numbers up to 2^53 are kept exactly"
end

local booleans = { ["true"] = true, yes = true, ["1"] = true, ["false"] = false, no = false, ["0"] = false }

local read_text = {
  string = function(text) return true, text end,
  number = read_number,
  integer = read_integer,
  boolean = function(text)
    local value = booleans[text:lower()]
    return value ~= nil, value
  end,
  json = function(text)
    local value, message = json.decode(text)
    if value == nil then return false, message end
    return true, without_nulls(value)
  end,
  file = function(path)
    local file, message = io.open(path, "rb")
    if not file then return false, message end
    local content
    content, message = file:read("*a")
    file:close()
    if not content then return false, ("%s: %s"):format(path, message) end
    return true, content
  end,
}

--- Whether a Lua value is one of type `kind` as it stands, without being read as text.
function params.has_type(kind, value)
  if kind == "json" then return true end
  if kind == "integer" then return is_integer(value) end
  return type(value) == (kind == "file" and "string" or kind)
end

--- A string stands for the text on a command line, whatever the type.
local function read_one(kind, value)
  if type(value) == "string" then return read_text[kind](value) end
  if params.has_type(kind, value) then return true, value end
  return false
end

local function split(text, separator)
  local list, at = {}, 1
  if text == "" then return list end
  while true do
    local from, to = text:find(separator, at, true)
    list[#list + 1] = text:sub(at, from and from - 1)
    if not from then return list end
    at = to + 1
  end
end

local function allowed(spec, value)
  if not spec.choices then return true end
  local shown = {}
  for i, choice in ipairs(spec.choices) do
    if choice == value then return true end
    shown[i] = tostring(choice)
  end
  return false, "the choices are " .. table.concat(shown, ", ")
end

--- Says what is wrong: "takes a number, not 'x'" and why.
local function refusal(spec, value, reason)
  local what = params.types[spec.type]
  if spec.separator then
    what = ("a list of %s values separated by '%s'"):format(spec.type, spec.separator)
  end
  return ("takes %s, not %s%s"):format(what, params.shown(value), reason and ": " .. reason or "")
end

local function convert_list(spec, value)
  local elements = type(value) == "string" and split(value, spec.separator) or value
  if type(elements) ~= "table" then return false, refusal(spec, value) end
  local list = {}
  for i, element in ipairs(elements) do
    local ok, result = read_one(spec.type, element)
    if not ok or result == nil then return false, refusal(spec, element, result) end
    local is_allowed, reason = allowed(spec, result)
    if not is_allowed then return false, refusal(spec, element, reason) end
    list[i] = result
  end
  for key in pairs(elements) do
    if list[key] == nil then return false, refusal(spec, value, "it is not a list") end
  end
  return true, list
end

--- The value that a parameter has when it is given `value`: text, or a value of its type.
--- @return boolean ok, any value  or false and the rest of a sentence: "takes …, not …"
function params.convert(spec, value)
  if spec.separator then return convert_list(spec, value) end
  local ok, result = read_one(spec.type, value)
  if not ok then return false, refusal(spec, value, result) end
  if result == nil then return true, nil end
  local is_allowed, reason = allowed(spec, result)
  if not is_allowed then return false, refusal(spec, value, reason) end
  return true, result
end

--- The type that a default gives its parameter, nil when it gives none.
function params.infer(default, separator)
  if type(default) == "table" and separator then default = default[1] end
  local kind = type(default)
  if kind == "table" then return "json" end
  return (kind == "number" or kind == "boolean" or kind == "string") and kind or nil
end

-- ---- all of a run's -------------------------------------------------------------

--- The variable of the environment that stands in for an absent option.
function params.variable(name) return "LUAFLOW_PARAM_" .. name:upper() end

local function option(spec) return "--" .. spec.name:gsub("_", "-") end

local function known_ones(wrong, names)
  if #names == 0 then return "this flow has no parameters" end
  local near = nearest.near(wrong, names)
  return near and ("the nearest is '%s'"):format(near) or "this flow has " .. table.concat(names, ", ")
end

--- What is given, by name; the environment stands in for what is not.
--- @return table?, string? message
local function collect(specs, given)
  local known, names, found = {}, {}, {}
  for i, spec in ipairs(specs) do
    known[spec.name], names[i] = spec, spec.name
    local variable = params.variable(spec.name)
    local text = os.getenv(variable)
    if text then found[spec.name] = { value = text, from = variable } end
  end
  for _, entry in ipairs(given) do
    local spec = known[(entry.name:gsub("-", "_"))]
    if not spec then
      return nil, ("unknown parameter '%s' (--%s): %s"):format(entry.name, entry.name, known_ones(entry.name, names))
    end
    local value = entry.value
    if entry.text ~= nil then value = entry.text end
    found[spec.name] = { value = value, from = option(spec) }
  end
  return found
end

--- Calls a default that is a function.
local function compute(spec, default)
  local ok, value = pcall(default)
  if ok then return true, value end
  return false, ("the default of parameter '%s' (%s) failed: %s"):format(spec.name, option(spec), tostring(value))
end

local function convert_from(spec, value, from)
  local ok, result = params.convert(spec, value)
  if ok then return true, result end
  return false, ("parameter '%s' %s (%s)"):format(spec.name, result, from)
end

--- A default that is a function says by its value what type the parameter has, unless the
--- spec does; when it cannot, a given text stays a string.
local function typed_by(spec, value)
  local kind = params.infer(value, spec.separator) or "string"
  return setmetatable({ type = kind }, { __index = spec })
end

local function resolve_one(spec, default, found)
  local untyped = spec.computed and spec.untyped
  if found then
    if found.value == nil then return true, nil end
    if untyped then
      local ok, value = compute(spec, default)
      if not ok then value = nil end
      spec = typed_by(spec, value)
    end
    return convert_from(spec, found.value, found.from)
  end
  if spec.computed then
    local ok, value = compute(spec, default)
    if not ok or value == nil then return ok, value end
    return convert_from(untyped and typed_by(spec, value) or spec, value, "its default")
  end
  if spec.default == nil then return true, nil end
  if spec.type == "file" then return convert_from(spec, spec.default, "its default") end
  return true, spec.default
end

--- Adds to `values` what the parameters are whose default is to be computed, or the others.
--- @return string? message
local function resolve_some(specs, defaults, found, values, computing)
  for _, spec in ipairs(specs) do
    local computes = spec.computed == true and found[spec.name] == nil
    if computes == computing then
      local ok, value = resolve_one(spec, defaults[spec.name], found[spec.name])
      if not ok then return value end
      if value == nil and spec.required then
        return ("parameter '%s' is required: give it %s with %s"):format(spec.name, params.types[spec.type],
          option(spec))
      end
      values[spec.name] = value
    end
  end
end

--- The parameters of a run: those given (a list of { name=, text= } or { name=, value= }),
--- else from the environment, else by default. `defaults` holds the default functions.
--- @return table? values, string? message  a usage error
function params.resolve(specs, defaults, given)
  local found, message = collect(specs, given)
  if not found then return nil, message end
  local values = {}
  -- Nothing is computed for a run that is refused anyway.
  message = resolve_some(specs, defaults, found, values, false) or resolve_some(specs, defaults, found, values, true)
  if message then return nil, message end
  return values
end

--- The parameters of a run that is resumed: `values` are those of its origin and stay; those
--- that its `description` does not know have their defaults.
--- @return table? values, string? message  a usage error
function params.resume(specs, defaults, values, description)
  local known, new = {}, {}
  for _, spec in ipairs(description.params) do known[spec.name] = true end
  for _, spec in ipairs(specs) do
    if not known[spec.name] then new[#new + 1] = spec end
  end
  for _, spec in ipairs(new) do
    local ok, value = resolve_one(spec, defaults[spec.name])
    if not ok then return nil, value end
    if value == nil and spec.required then
      return nil, ("parameter '%s' is new and required, and a resumed run is given none: give it a default, " ..
        "or run the flow anew"):format(spec.name)
    end
    values[spec.name] = value
  end
  return values
end

return params
