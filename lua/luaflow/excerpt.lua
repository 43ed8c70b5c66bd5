--- The lines of a file around the one that an error message names. Host only.
local excerpt = {}

local AROUND = 2      -- lines shown before and after it
local MAX_LINE = 200  -- bytes of a line

-- The file and line at the beginning of a message, or of a traceback's first frame.
local function position(message, traceback)
  local file, line = message:match("^([^\n]-):(%d+): ")
  if file == nil then file, line = (traceback or ""):match("\n\t([^\n]-):(%d+):") end
  return file, tonumber(line)
end

-- What to open for a name in a message: Lua names a long path "...end/of/it.lua". Of what a
-- step may call a file, only the flow and Lua files are opened.
local function path_of(name, flow_file)
  local tail = name:match("^%.%.%.(.+)$")
  if name == flow_file or tail and flow_file:sub(-#tail) == tail then return flow_file end
  return name:match("%.lua$") and name or nil
end

-- Lines `first` to `last` of a file.
local function read_lines(path, first, last)
  local file = io.open(path, "rb")
  if file == nil then return {} end
  local lines, number = {}, 0
  while number < last do
    local line = file:read("*l")
    if line == nil then break end
    number = number + 1
    if number >= first then lines[#lines + 1] = line end
  end
  file:close()
  return lines
end

--- The lines around the place where something failed, numbered, `>` before the one: of the
--- flow's file or another Lua file that is there.
--- @return string[]? lines
function excerpt.of(message, traceback, flow_file)
  local name, at = position(message, traceback)
  local path = name and path_of(name, flow_file)
  if path == nil then return nil end
  local first = math.max(1, at - AROUND)
  local lines = read_lines(path, first, at + AROUND)
  if at < first or first + #lines <= at then return nil end -- the file is gone, or not what it was
  local cut = require("luaflow.console").cut
  local width = #tostring(first + #lines - 1)
  for i, line in ipairs(lines) do
    local number = first + i - 1
    local text = ("%s %" .. width .. "d | %s"):format(number == at and ">" or " ", number, cut(line, MAX_LINE))
    lines[i] = text:gsub("%s+$", "")
  end
  return lines
end

return excerpt
