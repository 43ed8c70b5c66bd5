--- Runs the luaflow command as a person would, in a directory of its own, and compares what
--- comes out. Knows the command line only: no module of luaflow is loaded here.
---
---     local support = require "support"
---     support.test("a flow prints what its steps print", function(w)
---       w:write("hello.lua", [[ return { steps = { start = function() print "hello" end } } ]])
---       w:run("hello.lua")
---       support.equal(w:logs("last"), "hello\n")
---     end)
---     support.done()
---
--- $LUAFLOW names the command (default: build/dev/luaflow), $LUAFLOW_TEST_WORKERS how many workers
--- there are where a test does not say so. `support.test` prints a line of TAP.
local ffi = require "ffi"

ffi.cdef [[ int usleep(unsigned int microseconds); ]]

local support = {}

support.null = setmetatable({}, { __tostring = function() return "null" end })

--- Where a command that hangs is ended, in seconds; $LUAFLOW_TEST_PATIENCE times later where all is slow.
local PATIENCE = 60 * (tonumber(os.getenv "LUAFLOW_TEST_PATIENCE") or 1)

-- ---- the shell ----------------------------------------------------------------------------

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function quote_all(words)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = quote(word) end
  return table.concat(quoted, " ")
end

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

--- What a shell command prints, without the last newline.
function support.shell(command)
  local pipe = assert(io.popen("LC_ALL=C; export LC_ALL; " .. command, "r"))
  local text = pipe:read("*a")
  pipe:close()
  return (text:gsub("\n$", ""))
end

local function absolute(path)
  return path:sub(1, 1) == "/" and path or support.shell("pwd") .. "/" .. path
end

local here = absolute(arg[0]:match("^(.*/)") or "./")

--- The root of the source tree, and the command.
support.root = support.shell("cd " .. quote(here .. "../..") .. " && pwd")
support.command = absolute(os.getenv("LUAFLOW") or support.root .. "/build/dev/luaflow")

--- The path of one of the flows that come with luaflow.
function support.flow(name)
  return support.root .. "/flows/" .. name
end

function support.sleep(seconds)
  ffi.C.usleep(seconds * 1e6)
end

--- Calls `is_there` until it gives something true, and gives that.
function support.wait_for(what, is_there, seconds)
  for _ = 1, (seconds or 20) * 100 do
    local found = is_there()
    if found then return found end
    support.sleep(0.01)
  end
  error("waited in vain for " .. what, 2)
end

-- ---- JSON ---------------------------------------------------------------------------------

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function utf8(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then return string.char(0xc0 + math.floor(code / 64), 0x80 + code % 64) end
  if code < 0x10000 then
    return string.char(0xe0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64,
                       0x80 + code % 64)
  end
  return string.char(0xf0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
                     0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

local function unescape(text)
  text = text:gsub("\\u([dD][89abAB]%x%x)\\u([dD][c-fC-F]%x%x)", function(high, low)
    return utf8(0x10000 + (tonumber(high, 16) - 0xd800) * 1024 + tonumber(low, 16) - 0xdc00)
  end)
  text = text:gsub("\\u(%x%x%x%x)", function(code) return utf8(tonumber(code, 16)) end)
  return (text:gsub("\\(.)", function(c) return ESCAPES[c] or c end))
end

local decode_value

local function decode_string(text, at)
  local from = at + 1
  local close = text:find('["\\]', from)
  while close and text:sub(close, close) == "\\" do
    close = text:find('["\\]', close + 2)
  end
  assert(close, "JSON: a string does not end")
  local raw = text:sub(from, close - 1)
  return raw:find("\\", 1, true) and unescape(raw) or raw, close + 1
end

local function decode_list(text, at, close, item)
  local result = {}
  at = text:match("^%s*()", at + 1)
  if text:sub(at, at) == close then return result, at + 1 end
  while true do
    at = text:match("^%s*()", item(result, at))
    local mark = text:sub(at, at)
    if mark == close then return result, at + 1 end
    assert(mark == ",", "JSON: expected , or " .. close .. " at " .. at)
    at = text:match("^%s*()", at + 1)
  end
end

function decode_value(text, at)
  at = text:match("^%s*()", at)
  local mark = text:sub(at, at)
  if mark == '"' then return decode_string(text, at) end
  if mark == "[" then
    return decode_list(text, at, "]", function(result, from)
      local value, after = decode_value(text, from)
      result[#result + 1] = value
      return after
    end)
  end
  if mark == "{" then
    return decode_list(text, at, "}", function(result, from)
      local key, after = decode_string(text, from)
      local colon = assert(text:match("^%s*:()", after), "JSON: expected : at " .. after)
      result[key], after = decode_value(text, colon)
      return after
    end)
  end
  local word, after = text:match("^(%a+)()", at)
  if word == "true" then return true, after end
  if word == "false" then return false, after end
  if word == "null" then return support.null, after end
  word, after = text:match("^(-?%d[%d.eE+-]*)()", at)
  return assert(tonumber(word), "JSON: no value at " .. at .. ": " .. text:sub(at, at + 20)), after
end

--- The Lua value of one JSON document; `support.null` stands for null.
function support.decode(text)
  local value, after = decode_value(text, 1)
  assert(text:match("^%s*$", after), "JSON: something follows the document: "
    .. text:sub(after, after + 40))
  return value
end

-- ---- assertions ---------------------------------------------------------------------------

local function by_kind(a, b)
  if type(a) == type(b) and type(a) ~= "boolean" then return a < b end
  return tostring(a) < tostring(b)
end

--- A value as a person reads it, keys sorted.
local function show(value)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" or value == support.null then return tostring(value) end
  local keys, parts = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, by_kind)
  for i, key in ipairs(keys) do
    parts[i] = (key == i and "" or "[" .. show(key) .. "]=") .. show(value[key])
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function shorten(text)
  return #text <= 4000 and text or text:sub(1, 4000) .. " … (" .. #text .. " bytes)"
end

local function fail(what, sentence)
  error((what and what .. ": " or "") .. sentence, 3)
end

--- Both are the same, tables by what is in them.
function support.equal(actual, expected, what)
  local got, wanted = show(actual), show(expected)
  if got ~= wanted then
    fail(what, ("expected %s\n     got %s"):format(shorten(wanted), shorten(got)))
  end
end

function support.check(condition, what)
  if not condition then fail(nil, what or "this should hold") end
  return condition
end

--- `text` has each of the given pieces in it (plain text, not patterns).
function support.contains(text, ...)
  for _, piece in ipairs { ... } do
    if not text:find(piece, 1, true) then
      fail(nil, ("expected '%s' in: %s"):format(piece, shorten(text)))
    end
  end
end

function support.lacks(text, ...)
  for _, piece in ipairs { ... } do
    if text:find(piece, 1, true) then
      fail(nil, ("did not expect '%s' in: %s"):format(piece, shorten(text)))
    end
  end
end

function support.matches(text, pattern, what)
  if not text:find(pattern) then
    fail(what, ("expected a match of '%s' in: %s"):format(pattern, shorten(text)))
  end
end

-- ---- a directory of its own ---------------------------------------------------------------

local World = {}
World.__index = World

local function new_world()
  return setmetatable({ dir = support.shell("mktemp -d"), calls = 0 }, World)
end

--- Writes a file (and the directories above it) and gives its name back.
function World:write(name, text)
  local path = self.dir .. "/" .. name
  if name:find("/", 1, true) then
    support.shell("mkdir -p " .. quote(path:match("^(.*)/")))
  end
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return name
end

--- The content of a file, or nil.
function World:read(name)
  return read_file(name:sub(1, 1) == "/" and name or self.dir .. "/" .. name)
end

--- Runs a shell command in the directory and gives what it prints.
function World:shell(command)
  return support.shell("cd " .. quote(self.dir) .. " && " .. command)
end

local workers = os.getenv "LUAFLOW_TEST_WORKERS"

-- The words of a call, with the number of workers that is wanted for tests that leave it open.
local function with_workers(words)
  if not workers or not (words[1] == "run" or words[1] == "resume") then return words end
  for _, word in ipairs(words) do
    if word:find "^%-%-max%-workers" then return words end
  end
  return { words[1], "--max-workers=" .. workers, unpack(words, 2) }
end

-- The shell's words for a call of the command. Options: `env` (a table), `cwd` (below the
-- directory), `store = false` (leave it to luaflow to find one), `wrap` (words before all).
local function command_line(self, words, options)
  local before = { "env", "--default-signal=INT", "-u", "LUAFLOW_STORE", "-u", "NO_COLOR" }
  if options.store ~= false then
    before[#before + 1] = "LUAFLOW_STORE=" .. self.dir .. "/.luaflow"
  end
  for name, value in pairs(options.env or {}) do
    before[#before + 1] = name .. "=" .. value
  end
  before[#before + 1] = support.command
  return ("cd %s && exec %s %s"):format(quote(self.dir .. "/" .. (options.cwd or "")),
    quote_all(before), quote_all(with_workers(words)))
end

local function split_options(...)
  local words = { ... }
  local options = type(words[#words]) == "table" and table.remove(words) or {}
  return words, options
end

--- Calls the command; a table at the end is options (see above). The result has `code`, `out`,
--- `err`, and `all`, the two together.
function World:luaflow(...)
  local words, options = split_options(...)
  self.calls = self.calls + 1
  local base = ("%s/.call%d"):format(self.dir, self.calls)
  os.execute(("(timeout -k 5 %d sh -c %s) >%s.out 2>%s.err </dev/null; echo $? >%s.code")
    :format(PATIENCE, quote(command_line(self, words, options)), quote(base), quote(base),
            quote(base)))
  local result = {
    code = tonumber(read_file(base .. ".code")),
    out = read_file(base .. ".out"),
    err = read_file(base .. ".err"),
  }
  result.all = result.out .. result.err
  return result
end

--- Calls the command and insists on its exit code.
function World:expect(code, ...)
  local result = self:luaflow(...)
  if result.code ~= code then
    local words = split_options(...)
    error(("luaflow %s: expected exit code %d, got %s\n%s"):format(table.concat(words, " "), code,
      tostring(result.code), shorten(result.all)), 2)
  end
  return result
end

--- Runs a flow that must succeed.
function World:run(...)
  return self:expect(0, "run", ...)
end

--- The JSON document a command gives.
function World:json(...)
  local words, options = split_options(...)
  words[#words + 1] = "--json"
  words[#words + 1] = options
  return support.decode(self:expect(0, unpack(words)).out)
end

--- What tasks printed.
function World:logs(pathspec, ...)
  return self:expect(0, "logs", pathspec, ...).out
end

--- The tasks of a pathspec as `dump --json` tells them.
function World:tasks(pathspec, ...)
  return self:json("dump", pathspec, ...).tasks
end

--- The artifacts of a pathspec that means one task.
function World:artifacts(pathspec)
  local tasks = self:tasks(pathspec)
  support.equal(#tasks, 1, "tasks of " .. pathspec)
  return tasks[1].artifacts
end

local Process = {}
Process.__index = Process

--- Starts the command and comes back at once.
function World:spawn(...)
  local words, options = split_options(...)
  self.calls = self.calls + 1
  local base = ("%s/.call%d"):format(self.dir, self.calls)
  local line = ("echo $$ >%s.pid; %s"):format(quote(base), command_line(self, words, options))
  os.execute(("(sh -c %s >%s.out 2>%s.err </dev/null; echo $? >%s.code) &"):format(quote(line),
    quote(base), quote(base), quote(base)))
  local pid = support.wait_for("the process", function()
    return (read_file(base .. ".pid") or ""):match("^(%d+)\n")
  end)
  return setmetatable({ pid = pid, base = base }, Process)
end

function Process:out() return read_file(self.base .. ".out") or "" end
function Process:err() return read_file(self.base .. ".err") or "" end

--- Sends a signal by name: "INT", "KILL".
function Process:kill(signal)
  os.execute(("kill -%s %s 2>/dev/null"):format(signal, self.pid))
end

--- Waits for the end and gives the exit code (128 + the signal's number).
function Process:wait(seconds)
  return support.wait_for("process " .. self.pid .. " to end", function()
    return tonumber((read_file(self.base .. ".code") or ""):match("^(%d+)\n"))
  end, seconds)
end

-- ---- tests --------------------------------------------------------------------------------

local passed, failed = 0, 0

--- Runs `body` with a fresh directory and prints how it went.
function support.test(sentence, body)
  local world = new_world()
  local ok, message = xpcall(function() body(world) end, function(problem)
    return type(problem) == "string" and problem or debug.traceback(show(problem))
  end)
  support.shell("rm -rf " .. quote(world.dir))
  if ok then
    passed = passed + 1
    print(("ok %d - %s"):format(passed + failed, sentence))
  else
    failed = failed + 1
    print(("not ok %d - %s"):format(passed + failed, sentence))
    print("  # " .. message:gsub("\n", "\n  # "))
  end
  io.stdout:flush()
end

--- Prints the summary and ends the program: 0 when every test passed.
function support.done()
  print(("1..%d"):format(passed + failed))
  print(("# %d passed, %d failed"):format(passed, failed))
  os.exit(failed == 0 and passed > 0 and 0 or 1)
end

if not io.open(support.command, "rb") then
  io.stderr:write(("there is no command %s; build it or set LUAFLOW\n"):format(support.command))
  os.exit(1)
end

return support
