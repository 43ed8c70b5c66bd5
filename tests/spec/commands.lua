--- The command line on a store and a process that are tables, for specs of commands.
local commands = {}

local out, err, world

local process = {
  write = function(fd, text)
    if world.broken and fd == 1 then return nil, "No space left on device" end
    table.insert(fd == 1 and out or err, text)
    return true
  end,
  isatty = function(fd) return world.terminals ~= nil and world.terminals[fd] == true end,
  width = function() return 80 end,
  now = function() return 1700000010 end,
  executable = function() return "/usr/bin/luaflow" end,
  exists = function(path) return path:find("%.lua$") ~= nil and path ~= "gone.lua" end,
  unreadable = function(path) return path == "locked.lua" and "Permission denied" or nil end,
  watch_signals = function() world.watched = true end,
  interrupts = function() return table.remove(world.interrupts, 1) or world.last_interrupts or 0 end,
  wait_readable = function() return true end,
  exit = function(code) error({ exit = code }, 0) end,
}

-- ---- a flow --------------------------------------------------------------------

local function description()
  return {
    name = "F", file = "f.lua", doc = "A flow.",
    params = {
      { name = "suffix", type = "string", default = "x", help = "what to append" },
      { name = "max_depth", type = "number" },
      { name = "debug_mode", type = "boolean", default = false },
    },
    steps = {
      { name = "start", kind = "linear", next = { "finish" } },
      { name = "finish", kind = "last", next = {} },
    },
  }
end

local flow = {}
flow.__index = flow
function flow:describe() return description() end
function flow:close() self.is_closed = true end
function flow:params(texts)
  if texts.max_depth == "deep" then return nil, "option '--max-depth' takes a number, not 'deep'", "usage" end
  return { suffix = texts.suffix or "x", max_depth = tonumber(texts.max_depth) }
end

-- ---- a store: run 1 is done, run 2 failed ---------------------------------------

local function runs()
  local function step(name, started, done, failed)
    return { name = name, started = started, done = done, failed = failed, reused = 0 }
  end
  return {
    {
      id = 1, flow = "F", status = "done", tags = { "nightly", "x" }, created_at = 1700000000,
      finished_at = 1700000001.5,
      tasks = { started = 2, done = 2, failed = 0, reused = 0 },
      steps = { step("start", 1, 1, 0), step("finish", 1, 1, 0) },
    },
    {
      id = 2, flow = "F", status = "failed", tags = {}, origin_run_id = 1, created_at = 1700000002,
      finished_at = 1700000003, tasks = { started = 2, done = 1, failed = 1, reused = 1 },
      steps = { step("start", 1, 1, 0), step("finish", 1, 0, 1) },
    },
  }
end

local ARTIFACTS = {
  x = 1, picture = "\137PNG", long = ("y"):rep(2000), list = { 1, { a = true } },
  numbers = require("ffi").new("double[?]", 3, { 0.5, 1, 2 }),
}

-- Bytes that begin as those of such a value do; the fake decoder reads the name behind.
local HEADS = { x = "\0", list = "\146", long = "\218\7\208", numbers = "\199\24\25" }
local function bytes_of(name)
  if name == "long" then return HEADS.long .. ARTIFACTS.long end
  return (HEADS[name] or "\161") .. name .. (name == "numbers" and ("."):rep(24 - #name) or "")
end

local function artifact_list(names)
  local list = {}
  for i, name in ipairs(names) do list[i] = { name = name, size = 1, inherited = false } end
  return list
end

local rt = {}
rt.__index = rt
function rt:close() self.is_closed = true end
function rt:fd() return 5 end
function rt:run(id)
  local run = (world.runs or runs())[id]
  if run == nil then return nil, "no run", "notfound" end
  return run
end
function rt:runs(flow_name, tag, before, max)
  if world.is_empty or (flow_name and flow_name ~= "F") then return {} end
  local ids = {}
  for id = math.min(2, (before or 3) - 1), 1, -1 do
    if #ids < max and (tag == nil or id == 1) then ids[#ids + 1] = id end
  end
  return ids
end
function rt:tasks(run, step, failed_only, after)
  local numbers = {}
  for n = after + 1, 2 do
    if (step == nil or step == (n == 1 and "start" or "finish")) and (not failed_only or run == 2 and n == 2) then
      numbers[#numbers + 1] = n
    end
  end
  return numbers
end
function rt:task(run, n)
  if n > 2 then return nil, "no task", "notfound" end
  local name = n == 1 and "start" or "finish"
  if run == 2 and n == 2 then
    return { run = 2, task = 2, step = name, path = name, failed = true, message = "f.lua:3: no",
      traceback = "stack traceback:\n\tf.lua:3", artifacts = {}, attempts = world.attempts or {} }
  end
  local names = n == 1 and { "long", "x" } or { "list", "picture" }
  if world.has_numbers then names = { "numbers" } end
  return { run = run, task = n, step = name, path = name, failed = false, artifacts = artifact_list(names) }
end
function rt:bytes(run, n, name)
  for _, artifact in ipairs(self:task(run, n).artifacts) do
    if artifact.name == world.damaged then return nil, "artifact " .. name .. " is damaged", "store" end
    if artifact.name == name then return bytes_of(name) end
  end
  return nil, "no artifact", "notfound"
end
function rt:artifact(run, n, name, marked)
  assert(marked, "this is for those that show values")
  local bytes, message, code = self:bytes(run, n, name)
  if bytes == nil then return nil, message, code end
  return true, ARTIFACTS[name]
end
function rt:logs(_, after)
  if after > 0 then return {}, {} end
  return { 1, 2 }, { 1, 2 }
end
function rt:log(_, n)
  return {
    { task = n, attempt = 0, time = 1700000000.5, stream = "stdout", text = world.log or "out " .. n .. "\n" },
    { task = n, attempt = 1, time = 1700000001.25, stream = "stderr", text = "err " .. n },
  }
end
function rt:tag(id, add, remove)
  world.tagged = { id = id, add = add, remove = remove }
  return true
end
function rt:poll() if world.on_poll then world.on_poll() end end

-- A run whose events come at the first poll.
local function start(options)
  world.options = options
  if world.start_fails then return nil, unpack(world.start_fails) end
  local status = "running"
  world.on_poll = function()
    if world.is_stuck and not world.is_cancelled then return end
    status = world.is_cancelled and "interrupted" or world.ends or "done"
    world.warnings = world.warns_later
    options.on_event { event = "run_started", run = 3, time = 1 }
    for _, event in ipairs(world.events or {}) do options.on_event(event) end
    options.on_event { event = "run_finished", run = 3, time = 1.5, status = status,
      counts = { started = 2, done = 2, failed = status == "failed" and 1 or 0, reused = 0 } }
    world.on_poll = nil
  end
  return {
    id = function() return 3 end,
    status = function() return status end,
    problem = function() return unpack(world.problem or {}) end,
    cancel = function() world.is_cancelled = true end,
    close = function() end,
  }
end

function rt.warning() return table.remove(world.warnings or {}, 1) end

function rt:start(_, options)
  world.started = "start"
  return start(options)
end

function rt:resume(_, options)
  world.started = "resume"
  return start(options)
end

function rt:part(id, part)
  assert(part == "params")
  return { suffix = "of run " .. id }
end

-- A step that prints a line and leaves `x` and `picture`, or what `world.tried` says.
function rt:try(_, step, options)
  world.try = { step = step, run = options.run, task = options.task }
  if world.try_fails then return nil, unpack(world.try_fails) end
  local task = options.task or step == "start" and 1 or 2
  local about = { run = options.run, step = step, task = task, path = step, attempt = 0, worker = 1, time = 1 }
  for _, event in ipairs { "task_started", "line", "task_finished" } do
    local told = setmetatable({ event = event, stream = "stdout", text = "trying" }, { __index = about })
    options.on_event(told)
  end
  local result = { status = "done", step = step, path = step, task = task, artifacts = {
    { name = "picture", value_bytes = bytes_of "picture" },
    { name = "x", value_bytes = bytes_of "x" },
  } }
  for key, value in pairs(world.tried or {}) do result[key] = value end
  return result
end

local core = {
  cwd = function() return world.cwd end,
  is_directory = function(path) return world.directories[path] == true end,
  versions = function() return "luaflow 0.1.0\nLuaJIT 2.1\n" end,
  load = function(path, with)
    world.with = with
    if path == "bad.lua" then return nil, "step 'start' is missing\nstep 'a' goes nowhere", "flow" end
    return setmetatable({}, flow)
  end,
  open = function(options)
    world.opened = options
    if world.open_fails then return nil, unpack(world.open_fails) end
    return setmetatable({}, rt)
  end,
  decode_marked = function(bytes)
    for name, value in pairs(ARTIFACTS) do
      if bytes == bytes_of(name) then return true, value end
    end
    return false, "not a value", "value"
  end,
}

package.loaded["luaflow.process"] = process
package.loaded["luaflow.core"] = core

package.preload["luaflow.argparse"] = function() return require "argparse" end
local cli = require "luaflow.cli"

commands.process, commands.runs, commands.ARTIFACTS = process, runs, ARTIFACTS

--- A new world, to be filled in by a test.
function commands.new_world()
  world = { cwd = "/home/me/flows", directories = {}, interrupts = {} }
  return world
end

--- What went to stdout so far.
function commands.written() return table.concat(out) end

--- Types `text`, whose words have no spaces.
--- @return number exit_code, string stdout, string stderr
function commands.luaflow(text)
  out, err = {}, {}
  local argv = {}
  for word in text:gmatch("%S+") do argv[#argv + 1] = word end
  local code = cli.main(argv)
  return code, table.concat(out), table.concat(err)
end

--- Types `text`, which is a usage error with `message` in it.
function commands.refused(text, message)
  local code, printed, complaint = commands.luaflow(text)
  assert(code == 2, text .. ": exit code " .. code)
  assert(printed == "", printed)
  assert(complaint:find(message, 1, true), complaint)
end

return commands
