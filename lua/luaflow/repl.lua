--- The prompt: reads chunks of Lua, evaluates them, shows what they give, and goes on. Host only.
--- Knows nothing of terminals and files: it is given what reads, writes and calls.
local pretty = require "luaflow.pretty"

local repl = {}

local PROMPT, CONTINUATION = "> ", ">> "
local MAX_FRAMES = 20 -- of a traceback
local HERE = "stdin"  -- what the chunk that was just typed is called in messages
local RED = "\27[31m%s\27[0m"

-- ---- chunks -----------------------------------------------------------------------

local function is_unfinished(message) return message:find("near '<eof>'$") ~= nil end

-- A chunk is named by its text, so that a flow's step is shown as it was typed. (A name that
-- begins with = or @ would mean something else. A string that the line's end leaves open is open
-- for good.)
local function load_text(text, name)
  return load(text .. "\n", name:gsub("^[=@]", " %0"), "t")
end

-- An expression as a function that gives its values. A call in it is none in the tail, which would
-- leave no frame, and an error no line.
local function load_expression(text, name)
  local chunk, message = load_text("return " .. text, name)
  if chunk == nil then return nil, message end
  return load_text("return (function(...) return ... end)(" .. text .. "\n)", name) or chunk -- `x;`
end

--- Text as a function that returns the values of an expression, or does what statements say.
--- @return function? chunk, string? message  neither when the text is not complete
function repl.compile(text)
  local expression = text:match("^%s*=(.*)$")
  if expression then
    local chunk, message = load_expression(expression, expression)
    if chunk or not is_unfinished(message) then return chunk, message end
    return nil
  end
  local chunk, of_expression = load_expression(text, text)
  if chunk then return chunk end
  local message
  chunk, message = load_text(text, text)
  if chunk or not is_unfinished(message) and not is_unfinished(of_expression) then return chunk, message end
  return nil
end

-- What messages call a chunk: `[string "x = 1"]`.
local function short_name(text)
  local name = text:match("^%s*=(.*)$") or text
  return debug.getinfo(load_text("", name), "S").short_src
end

-- ---- errors -----------------------------------------------------------------------

-- As Lua writes it.
local function frame(about)
  local place = ("%s:%d:"):format(about.short_src, about.currentline)
  if about.name then return ("%s in function '%s'"):format(place, about.name) end
  if about.what == "main" then return place .. " in main chunk" end
  return ("%s in function <%s:%d>"):format(place, about.short_src, about.linedefined)
end

-- The frames of the user's own Lua between whoever raised an error and `bottom`, which called it.
local function frames(bottom)
  local lines, level = {}, 3
  while true do
    local about = debug.getinfo(level, "Slnf")
    if about == nil or about.func == bottom then break end
    if about.what ~= "C" and not about.short_src:find("^luaflow/") then
      if #lines == MAX_FRAMES then
        lines[#lines + 1] = "..."
        break
      end
      lines[#lines + 1] = frame(about)
    end
    level = level + 1
  end
  return lines
end

-- ---- the prompt -------------------------------------------------------------------

local Repl = {}
Repl.__index = Repl

--- A prompt.
---   read(prompt) → a line; or nil and "end", "interrupt", "terminate", or why it cannot be read
---   write(text), warn(text): to stdout, to stderr; flush(): what is evaluated may have written
---   call(f, handler): as xpcall
---   remember(entry): what was typed
---   width() → columns; has_colours; is_terminal: a person types, who sees errors and goes on
---   globals: where `_` is the last value
function repl.new(options) return setmetatable({ options = options, line = 0 }, Repl) end

function Repl:read_line(prompt)
  local line, why = self.options.read(prompt)
  if line then self.line = self.line + 1 end
  return line, why
end

--- The next complete chunk. An error in it is its message.
--- @return string? text, function? chunk, string? message_or_why
function Repl:read_chunk()
  local text = nil
  while true do
    local line, why = self:read_line(text and CONTINUATION or PROMPT)
    if line == nil then
      if why ~= "end" or text == nil then return nil, nil, why end
      return text, nil, select(2, load_text(text, text))
    end
    if text == nil then self.first_line = self.line end
    text = text and text .. "\n" .. line or line
    local chunk, message = repl.compile(text)
    if chunk or message then return text, chunk, message end
  end
end

--- In messages the chunk just typed is `stdin`, with the lines of all input where nobody types.
function Repl:renamed(message, text)
  local name = short_name(text)
  local before = self.options.is_terminal and 0 or self.first_line - 1
  local parts, at = {}, 1
  while true do
    local from, to = message:find(name .. ":", at, true)
    if from == nil then break end
    local line, after = message:match("^(%d+)()", to + 1)
    parts[#parts + 1] = message:sub(at, from - 1) .. HERE .. ":" .. (line and line + before or "")
    at = after or to + 1
  end
  return table.concat(parts) .. message:sub(at)
end

function Repl:fail(message, text)
  message = self:renamed(message, text)
  if not self.options.is_terminal then message = "luaflow: " .. message end
  self.options.warn((self.options.has_colours and RED:format(message) or message) .. "\n")
  return false
end

-- Calls f; what it raises is told.
function Repl:protect(text, f)
  local call = self.options.call
  local traceback
  local function handler(failure)
    traceback = frames(call)
    return failure
  end
  local function settle(ok, ...)
    if ok then return true, select("#", ...), ... end
    local failure = ...
    local message = type(failure) == "string" and failure or "error: " .. pretty.format(failure)
    -- The chunk alone would only say again where the message says it is.
    if #(traceback or {}) > 1 then
      message = message .. "\nstack traceback:\n\t" .. table.concat(traceback, "\n\t")
    end
    return self:fail(message, text)
  end
  return settle(call(f, handler))
end

function Repl:show(n, values)
  local lines = {}
  for i = 1, n do
    lines[i] = pretty.format(values[i], { width = self.options.width(), has_colours = self.options.has_colours })
  end
  self.options.write(table.concat(lines, "\n") .. "\n")
end

--- Evaluates a chunk and shows what it gives.
--- @return boolean ok
function Repl:evaluate(text, chunk)
  local function keep(ok, n, ...)
    self.options.flush()
    if not ok or n == 0 then return ok end
    local values = { ... }
    self.options.globals._ = values[1]
    return (self:protect(text, function() self:show(n, values) end)) -- a value may fail to say what it is
  end
  return keep(self:protect(text, chunk))
end

--- Until the input ends or, where nobody types, until something fails.
--- @return string why  "end", "terminate", "failed", or why no more can be read
function Repl:run()
  while true do
    local text, chunk, message = self:read_chunk()
    if text then
      if text:find("%S") then self.options.remember(text) end
      local ok
      if chunk then ok = self:evaluate(text, chunk) else ok = self:fail(message, text) end
      if not ok and not self.options.is_terminal then return "failed" end
    elseif message == "interrupt" then
      self.options.write("^C\n")
    else
      if self.options.is_terminal then self.options.write("\n") end
      return message
    end
  end
end

return repl
