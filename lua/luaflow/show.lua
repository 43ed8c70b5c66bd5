--- Draws a flow: as text, as a Graphviz graph, as JSON. Anywhere. Takes a flow's
--- description (luaflow.core's flow:describe()), so no step runs.
local show = {}

local json = require "luaflow.json"

--- What a step may have besides its function, transition and doc.
show.ATTRIBUTES = { "retry", "timeout", "catch", "isolate", "env", "resources", "max_parallel" }

local function option_name(param) return "--" .. param.name:gsub("_", "-") end

local literal = json.encode

-- A string that may stand in a line as it is, or else any value.
local function word(value)
  return type(value) == "string" and value ~= "" and not value:find("%c") and value or literal(value)
end

-- A default as one would type it.
local function default_text(param)
  local default = param.default
  if param.separator and type(default) == "table" then
    local elements = {}
    for i, element in ipairs(default) do
      elements[i] = word(element)
    end
    return table.concat(elements, param.separator)
  end
  return word(default)
end

--- The help of a parameter: what it is for, its default and what it may be.
function show.param_help(param)
  local parts = {}
  if param.help then parts[1] = param.help end
  local notes = {}
  if param.required then notes[#notes + 1] = "required" end
  if param.separator then notes[#notes + 1] = ("a list, separated by '%s'"):format(param.separator) end
  if param.choices then
    local choices = {}
    for i, choice in ipairs(param.choices) do choices[i] = word(choice) end
    notes[#notes + 1] = "one of " .. table.concat(choices, ", ")
  end
  if param.computed then
    notes[#notes + 1] = "default: computed"
  elseif param.default ~= nil then
    notes[#notes + 1] = "default: " .. default_text(param)
  end
  if #notes > 0 then parts[#parts + 1] = "(" .. table.concat(notes, "; ") .. ")" end
  return table.concat(parts, " ")
end

-- What happens after a step, in one line.
local function transition(step)
  if step.kind == "last" then return "=> (the last step)" end
  if step.kind == "foreach" then return ("foreach %s => %s"):format(step.foreach, step.next[1]) end
  if step.kind == "switch" then
    local cases = {}
    for i, case in ipairs(step.cases) do
      cases[i] = ("%s => %s"):format(word(case.key), case.next)
    end
    return ("switch %s: %s"):format(step.switch, table.concat(cases, ", "))
  end
  return "=> " .. table.concat(step.next, ", ")
end

local function attribute_text(step)
  local parts = {}
  for _, name in ipairs(show.ATTRIBUTES) do
    local value = step[name]
    if value ~= nil and value ~= false then
      parts[#parts + 1] = name .. " = " .. word(value)
    end
  end
  return table.concat(parts, ", ")
end

local function indent(text, by) return by .. text:gsub("\n+$", ""):gsub("\n", "\n" .. by) end

local function step_lines(lines, step)
  lines[#lines + 1] = ""
  lines[#lines + 1] = "Step " .. step.name .. (step.join and " (join)" or "")
  if step.doc then lines[#lines + 1] = indent(step.doc, "    ") end
  lines[#lines + 1] = "    " .. transition(step)
  local attributes = attribute_text(step)
  if attributes ~= "" then lines[#lines + 1] = "    " .. attributes end
end

--- The steps in topological order, for people.
function show.text(flow)
  local lines = { ("Flow %s (%s)"):format(flow.name, flow.file) }
  if flow.doc then lines[#lines + 1] = indent(flow.doc, "    ") end
  if #flow.params > 0 then
    lines[#lines + 1] = ""
    lines[#lines + 1] = "Parameters"
    for _, param in ipairs(flow.params) do
      local head = ("    %s %s"):format(option_name(param), param.type:upper())
      lines[#lines + 1] = (head .. "  " .. show.param_help(param):gsub("\n", "\n        ")):gsub("%s+$", "")
    end
  end
  for _, step in ipairs(flow.steps) do step_lines(lines, step) end
  return table.concat(lines, "\n") .. "\n"
end

local function dot_quote(text) return '"' .. text:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"' end

local function dot_edge(from, to, label)
  local attribute = label and (" [label=%s]"):format(dot_quote(label)) or ""
  return ("  %s -> %s%s;"):format(dot_quote(from), dot_quote(to), attribute)
end

--- A graph for Graphviz: `luaflow show FLOW.lua --dot | dot -Tsvg`.
function show.dot(flow)
  local lines = { "digraph " .. dot_quote(flow.name) .. " {", "  rankdir=LR;", "  node [shape=box, style=rounded];" }
  for _, step in ipairs(flow.steps) do
    local shape = step.kind == "switch" and " [shape=diamond, style=solid]" or ""
    lines[#lines + 1] = "  " .. dot_quote(step.name) .. shape .. ";"
  end
  for _, step in ipairs(flow.steps) do
    if step.kind == "switch" then
      for _, case in ipairs(step.cases) do
        lines[#lines + 1] = dot_edge(step.name, case.next, tostring(case.key))
      end
    else
      local label = step.kind == "foreach" and "foreach " .. step.foreach or nil
      for _, to in ipairs(step.next) do lines[#lines + 1] = dot_edge(step.name, to, label) end
    end
  end
  lines[#lines + 1] = "}"
  return table.concat(lines, "\n") .. "\n"
end

local FLOW_KEYS = { "name", "doc", "file", "params", "steps" }
local PARAM_KEYS = { "name", "type", "default", "computed", "required", "help", "separator", "choices" }
local STEP_KEYS = {
  "name", "doc", "line", "where", "kind", "join", "has_function", "next", "foreach", "switch", "cases",
  "retry", "timeout", "catch", "isolate", "env", "resources", "max_parallel",
}

--- The description as one JSON document, its keys in a readable order.
function show.json(flow)
  local params, steps = {}, {}
  for i, param in ipairs(flow.params) do params[i] = json.ordered(PARAM_KEYS, param) end
  for i, step in ipairs(flow.steps) do
    steps[i] = json.ordered(STEP_KEYS, step)
  end
  return json.encode(json.ordered(FLOW_KEYS, {
    name = flow.name, doc = flow.doc, file = flow.file, params = params, steps = steps,
  })) .. "\n"
end

return show
