--- What was typed at the prompt, kept in a file from one time to the next. Host only. An entry is
--- a line of the file, whatever lines it has itself. Knows nothing of how files are written.
local history = {}

local KEPT = 1000

local ESCAPES = { ["\n"] = "\\n", ["\\"] = "\\\\", ["\r"] = "\\r" }
local UNESCAPES = { n = "\n", ["\\"] = "\\", r = "\r" }

--- Where the file is, by the environment; nil when there is no home to keep it in.
function history.path(getenv)
  local state = getenv "XDG_STATE_HOME"
  if state == nil or state:sub(1, 1) ~= "/" then -- as its specification has it
    local home = getenv "HOME"
    if home == nil or home == "" then return nil end
    state = home .. "/.local/state"
  end
  return state .. "/luaflow/history"
end

--- An entry as a line of the file.
function history.encode(entry) return (entry:gsub("[\n\r\\]", ESCAPES)) .. "\n" end

--- The entries of the file's text, oldest first, as many as are kept; and that text if it should be
--- written anew, being twice as long.
--- @return string[] entries, string? shortened
function history.decode(text)
  local lines = {}
  for line in text:gmatch("([^\n]+)\n") do lines[#lines + 1] = line end
  local entries, first = {}, math.max(1, #lines - KEPT + 1)
  for i = first, #lines do
    entries[#entries + 1] = lines[i]:gsub("\\(.)", UNESCAPES)
  end
  if #lines <= 2 * KEPT then return entries end
  return entries, table.concat(lines, "\n", first) .. "\n"
end

return history
