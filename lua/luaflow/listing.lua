--- The text of functions that stand in no flow file, as far as it is known. Runs in the host's state.
---
--- A function knows its lines, and of which text: that of a file, or one that was given to Lua as a
--- string. What was typed at a prompt is nowhere kept.
local listing = {}

local function lines_of(text)
  local lines = {}
  for line in (text .. "\n"):gmatch("(.-)\r?\n") do lines[#lines + 1] = line end
  return lines
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

--- The lines of the text that a function was compiled from; nil where it is not known.
local function source_lines(source, known)
  if known[source] == nil then
    local kind, text = source:sub(1, 1), nil
    if kind == "@" then
      text = read(source:sub(2))
    elseif kind ~= "=" then
      text = source
    end
    known[source] = text and lines_of(text) or false
  end
  return known[source] or nil
end

--- Each function with its title and place, and the lines it stands on.
--- @param functions table  a list of { f=, title= }
--- @return string
function listing.of(functions)
  local out, known = { "-- A flow that was given as a table: the functions it has and uses.", "" }, {}
  for _, entry in ipairs(functions) do
    local info = debug.getinfo(entry.f, "S")
    local lines = source_lines(info.source, known)
    local is_known = lines and lines[info.lastlinedefined]
    out[#out + 1] = ("-- %s, %s:%d%s"):format(entry.title, info.short_src, info.linedefined,
      is_known and "" or ": the text is not known")
    for i = info.linedefined, is_known and info.lastlinedefined or 0 do out[#out + 1] = lines[i] end
    out[#out + 1] = ""
  end
  return table.concat(out, "\n")
end

return listing
