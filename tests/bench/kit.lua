--- What the parts of the benchmark do their measuring with: commands and what they took, stores and
--- what is in them, the programs behind the limits. Knows no figure.
local here = arg[0]:match("^(.*/)") or "./"

local kit = {}

local function quote(word) return "'" .. tostring(word):gsub("'", "'\\''") .. "'" end

--- What a command prints, without the last newline.
function kit.output_of(...)
  local words = { ... }
  for i, word in ipairs(words) do words[i] = quote(word) end
  local pipe = assert(io.popen(table.concat(words, " ")))
  local text = pipe:read("*a")
  pipe:close()
  return (text:gsub("\n$", ""))
end

kit.root = kit.output_of("realpath", here .. "../..")
kit.luaflow = os.getenv("LUAFLOW") or kit.root .. "/build/release/luaflow"
kit.flows = kit.root .. "/tests/bench/flows/"
local build = kit.luaflow:gsub("[^/]*$", "")

function kit.is_built() return kit.output_of("ls", build .. "bench/records") ~= "" end

--- Makes a place for all files there will be; kit.close removes it.
function kit.open()
  kit.place = kit.output_of("mktemp", "-d", kit.root .. "/build/bench.XXXXXX")
  return kit.place ~= ""
end

function kit.close()
  collectgarbage() -- closes the pipe of an interrupted command, and so waits for its end
  kit.output_of("rm", "-rf", kit.place)
end

--- The numbers that a command prints; it has said itself what went wrong.
local function numbers_of(...)
  local numbers = {}
  for word in kit.output_of(...):gmatch("%S+") do numbers[#numbers + 1] = tonumber(word) end
  if not numbers[1] then error("stopped: " .. table.concat({ ... }, " "), 0) end
  return unpack(numbers)
end

--- The numbers that one of our programs prints.
function kit.program(name, ...) return numbers_of(build .. "bench/" .. name, ...) end

--- The same of a Lua program of this directory; it is told where the Lua module is.
function kit.script(name, ...) return numbers_of("luajit", kit.root .. "/tests/bench/" .. name, build, ...) end

--- What a command took: { seconds=, megabytes=, cpu= }, the last being the processors' seconds.
function kit.measure(...)
  local seconds, kilobytes, cpu = kit.program("measure", ...)
  return { seconds = seconds, megabytes = kilobytes / 1024, cpu = cpu }
end

--- The same of several commands at once; a shell's start is in it.
function kit.measure_at_once(...)
  local lines = {}
  for i, words in ipairs { ... } do
    for j, word in ipairs(words) do words[j] = quote(word) end
    lines[i] = table.concat(words, " ")
  end
  return kit.measure("sh", "-c", table.concat(lines, " & ") .. " & wait")
end

--- The least that starting anything takes that is written in Lua and stores one thing.
function kit.least_start()
  local dir = kit.fresh "opened"
  kit.program("opened", dir) -- makes it
  return kit.measure("luajit", "-e", "").seconds + (kit.program("opened", dir))
end

-- ---- stores -----------------------------------------------------------------------------------

--- An empty directory for a limit.
function kit.fresh(name)
  local dir = kit.place .. "/" .. (name or "limit")
  kit.output_of("rm", "-rf", dir)
  kit.output_of("mkdir", dir)
  return dir
end

--- The words of `luaflow COMMAND …` with the store.
local function with_store(...)
  local words = { kit.luaflow, ... }
  table.insert(words, "--store")
  table.insert(words, kit.place .. "/store")
  return words
end

--- What that command takes.
function kit.command(...) return kit.measure(unpack(with_store(...))) end

function kit.run(flow, ...)
  return kit.command("run", flow:find("/", 1, true) and flow or kit.flows .. flow, "--quiet", ...)
end

--- The same, in a store that has one run before, so that what is measured need not make it; and
--- what there is more in the store afterwards: { commits=, tasks=, task_bytes=, bytes=, file_bytes= }.
function kit.run_fresh(flow, ...)
  kit.fresh_store()
  local before = kit.contents()
  local took = kit.run(flow, ...)
  local left = kit.contents()
  for name, count in pairs(before) do left[name] = left[name] - count end
  return took, left
end

function kit.fresh_store()
  kit.output_of("rm", "-rf", kit.place .. "/store")
  kit.run("one.lua")
end

function kit.contents()
  local commits, tasks, task_bytes, bytes, file_bytes = kit.program("contents", kit.place .. "/store")
  return { commits = commits, tasks = tasks, task_bytes = task_bytes, bytes = bytes, file_bytes = file_bytes }
end

--- An artifact, as a number.
function kit.get(pathspec)
  return tonumber(kit.output_of(kit.luaflow, "get", pathspec, "--store", kit.place .. "/store"))
end

--- Seconds to put as many records, as large, in as many synced transactions as a run left. What
--- they take on the disk is in `limit` afterwards.
function kit.records(left)
  return (kit.program("records", kit.fresh(), left.tasks, left.commits, math.ceil(left.task_bytes / left.tasks)))
end

--- Writes a flow of this run's own; returns its path.
function kit.write_flow(name, lines)
  local path = kit.place .. "/" .. name
  local file = assert(io.open(path, "w"))
  file:write(table.concat(lines, "\n"), "\n")
  file:close()
  return path
end

-- ---- instructions -----------------------------------------------------------------------------

--- How many instructions a command takes, all its threads together.
local function instructions(...)
  local out = kit.place .. "/callgrind"
  kit.measure("valgrind", "-q", "--tool=callgrind", "--callgrind-out-file=" .. out, ...)
  local file = assert(io.open(out), "valgrind left nothing")
  local total = file:read("*a"):match "\ntotals: (%d+)"
  file:close()
  os.remove(out)
  return assert(tonumber(total), "callgrind counted nothing")
end

function kit.command_instructions(...) return instructions(unpack(with_store(...))) end

function kit.program_instructions(name, ...) return instructions(build .. "bench/" .. name, ...) end

function kit.script_instructions(name, ...)
  return instructions("luajit", kit.root .. "/tests/bench/" .. name, build, ...)
end

-- ---- the machine ------------------------------------------------------------------------------

--- What the figures depend on; `load` is how many programs wanted to run in the last minute.
function kit.machine()
  return {
    load = tonumber(kit.output_of("cat", "/proc/loadavg"):match "^%S+"),
    cores = tonumber(kit.output_of("nproc")),
    cpu = kit.output_of("sh", "-c", "sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1"),
    kernel = kit.output_of("uname", "-r"),
    disk = kit.output_of("stat", "-f", "-c", "%T", kit.root .. "/build"),
    revision = kit.output_of("sh", "-c", "git -C '" .. kit.root .. "' describe --always --dirty 2>/dev/null"),
  }
end

return kit
