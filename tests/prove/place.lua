--- A directory in which luaflow is called, disturbed and observed. Knows the command line only.
local ffi = require "ffi"
local support = require "support"

ffi.cdef [[
  struct prove_timespec { long seconds, nanoseconds; };
  int clock_gettime(int clock, struct prove_timespec *time);
]]

local CLOCK_MONOTONIC = 1

local PATIENCE = 60 -- seconds: who takes longer hangs

local place = {}

local Place = {}
Place.__index = Place

local function quote(word) return "'" .. tostring(word):gsub("'", "'\\''") .. "'" end

local function quote_all(words)
  local quoted = {}
  for i, word in ipairs(words) do
    word = tostring(word)
    quoted[i] = word:find("^[%w@%%+=:,./_-]+$") and word or quote(word)
  end
  return table.concat(quoted, " ")
end

local function now()
  local time = ffi.new("struct prove_timespec")
  ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

--- A new directory in `parent`.
function place.new(parent, name)
  local dir = parent .. "/" .. name
  support.shell("mkdir -p " .. quote(dir))
  return setmetatable({ dir = dir, count = 0, calls = {} }, Place)
end

--- Writes a file.
function Place:write(name, text)
  local file = assert(io.open(self.dir .. "/" .. name, "wb"))
  assert(file:write(text))
  file:close()
end

--- The content of a file, or nil.
function Place:read(name)
  local file = io.open(self.dir .. "/" .. name, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

-- What ends a call: a signal that comes after some seconds, once or, as from a terminal, to all
-- that the call has started; and patience.
local function guard(signal)
  if not signal then return { "timeout", "-s", "KILL", PATIENCE } end
  local words = { "timeout", "--preserve-status", "-k", PATIENCE, "-s", signal.name }
  if not signal.is_for_all then words[#words + 1] = "--foreground" end
  words[#words + 1] = ("%.4f"):format(signal.after)
  return words
end

--- Calls the command. `options` may have `environment` (a list of NAME=VALUE) and `signal`
--- ({ name =, after = seconds, is_for_all = }). The result has its `number`, `code` (of one
--- that was killed 137), `out`, `err`, `seconds`, `has_hung` and `has_signal`. PROVE_HOST tells
--- the command's process to what runs in it.
function Place:call(words, options)
  options = options or {}
  local environment = quote_all(options.environment or {})
  local wrap = quote_all(guard(options.signal))
  self.count = self.count + 1
  local number = self.count
  if options.environment then
    self:note(("call %d: %s %s luaflow %s"):format(number, environment, wrap, quote_all(words)))
  end
  local line = ("cd %s && exec env --default-signal=INT -u LUAFLOW_STORE %s %s %s - %s %s"):format(quote(self.dir),
    environment, wrap, [[sh -c 'PROVE_HOST=$$ exec "$@"']], quote(support.command), quote_all(words))
  local base = ("%s/call%d"):format(self.dir, number)
  local start = now()
  local pipe = assert(io.popen(("exec 2>/dev/null; (%s) >%s.out 2>%s.err </dev/null; echo $?")
    :format(line, quote(base), quote(base))))
  local code = tonumber(pipe:read("*a"))
  pipe:close()
  return {
    number = number,
    code = code,
    out = self:read(("call%d.out"):format(number)),
    err = self:read(("call%d.err"):format(number)),
    seconds = now() - start,
    has_signal = options.signal ~= nil,
    has_hung = now() - start >= PATIENCE,
  }
end

--- Adds a line to the history.
function Place:note(text) self.calls[#self.calls + 1] = text end

--- The calls with an environment so far, as one would type them, and the notes.
function Place:history() return ("    cd %s\n    %s"):format(self.dir, table.concat(self.calls, "\n    ")) end

function Place:remove() support.shell("rm -rf " .. quote(self.dir)) end

return place
