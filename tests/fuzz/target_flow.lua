--- Whatever a flow file returns is brought into the normal form, or told what is wrong with it.
local flow = require "luaflow.flow"
local fuzz = require "fuzz"

local target = {}

local EFLOW = -3

--- The text that makes a value in a flow file; nil for what has none.
local function literal(value, depth)
  if type(value) == "number" then
    if value ~= value then return "0/0" end
    if value == math.huge or value == -math.huge then return value > 0 and "1/0" or "-1/0" end
    return ("%.17g"):format(value)
  end
  if type(value) == "string" then return (("%q"):format(value):gsub("\r", "\\r"):gsub("%z", "\\0")) end
  if type(value) == "boolean" or value == nil then return tostring(value) end
  if type(value) == "function" then
    local info = debug.getinfo(value, "u")
    if info.isvararg then return "function(...) end" end
    return info.nparams == 2 and "function(self, inputs) end" or "function(self) end"
  end
  if type(value) ~= "table" then return type(value) == "cdata" and "1LL" or "io.stdout" end
  if depth > 20 then return "{}" end
  local parts = { "{" }
  for key, element in next, value do
    local key_text = literal(key, depth + 1)
    if key_text ~= "0/0" then parts[#parts + 1] = ("[%s]=%s,"):format(key_text, literal(element, depth + 1)) end
  end
  parts[#parts + 1] = "}"
  return table.concat(parts)
end

--- A format that was not filled in is told from what is the user's, which is shown as it is.
local function check_sentence(text, raw)
  assert(type(text) == "string" and #text > 10, "no sentence")
  assert(not text:find("traceback", 1, true) and not text:find "luaflow[/.]%w+:%d", text)
  assert(not text:find "%%[sd]" or literal(raw, 0):find("%", 1, true), text)
end

function target.flow(raw)
  local ok, normal, problems, functions = pcall(flow.normalise, raw, "flows/f.lua", "f")
  if not ok then
    assert(normal:find "values.lua:%d+: index$", normal) -- the user's own metatable
    return
  end
  assert(type(normal) == "table" and type(functions.steps) == "table" and type(functions.defaults) == "table")
  for _, problem in ipairs(problems) do
    check_sentence(problem.sentence, raw)
    assert(problem.where == nil or type(problem.where) == "string")
  end
  if #problems > 0 then check_sentence(flow.report(problems, "flows/f.lua"), raw) end
end

target.value = function(value)
  if type(value) == "table" and not getmetatable(value) then target.flow(value) end
end

--- The whole way, with a state of its own: seldom, it is slow.
local count = 0
local normalise = target.flow
function target.flow(raw)
  normalise(raw)
  count = count + 1
  if count % 50 ~= 0 then return end
  local code, message = fuzz.load("return " .. literal(raw, 0))
  assert(code == 0 or code == EFLOW, message)
  if code ~= 0 then check_sentence(message, raw) end
end

return target
