--- The command line: finds the command, reads its options, tells what went wrong.
--- Host only. One file per command (luaflow.cli.*), loaded when it is used, so that a
--- short run starts quickly.
---
--- A command is a table:
---   summary                what it does, in a line
---   declare(parser)        its arguments and options, to lua-argparse
---   run(args) → exit code, or nil, message, code (as luaflow.core fails)
---   parse(argv, wants_help) → args, or nil, message: where argparse alone does not do;
---     args.help is a parser whose help is shown instead
local process = require "luaflow.process"

local cli = {}

cli.DONE, cli.RUN_FAILED, cli.USAGE, cli.STORE, cli.INTERRUPTED = 0, 1, 2, 3, 130

local exit_codes = {
  usage = cli.USAGE, flow = cli.USAGE, notfound = cli.USAGE,
  store = cli.STORE, value = cli.STORE, memory = cli.STORE,
  step = cli.RUN_FAILED,
}

local COMMANDS = {
  { "run", "run a flow" },
  { "resume", "go on with a run that failed or was interrupted" },
  { "step", "run one step alone on what an earlier run has stored" },
  { "check", "check a flow's graph" },
  { "show", "show a flow's steps" },
  { "runs", "list runs, newest first" },
  { "status", "show one run, step by step" },
  { "dump", "show the artifacts of tasks" },
  { "get", "write one artifact as it is" },
  { "logs", "show what tasks printed" },
  { "tag", "add, remove or list tags of a run" },
  { "verify", "read everything stored and say what is damaged" },
  { "prune", "delete old runs and what no other run needs" },
  { "repl", "a LuaJIT prompt with luaflow loaded" },
  { "version", "show the versions of luaflow and its libraries" },
}

-- ---- what commands share --------------------------------------------------------

local waiting, waiting_size = {}, 0
local ENOUGH = 64 * 1024

--- Writes at once what cli.write gathered. A full disk is an error; a reader that has
--- left ends the command.
function cli.flush()
  local text = waiting[2] and table.concat(waiting) or waiting[1] or "" -- one may be very long
  waiting, waiting_size = {}, 0
  if text == "" then return end
  local ok, message = process.write(1, text)
  if not ok then error({ message = "cannot write to standard output: " .. (message or "its reader left") }, 0) end
end

--- Writes to stdout, as it is.
function cli.write(text)
  waiting[#waiting + 1] = text
  waiting_size = waiting_size + #text
  if waiting_size >= ENOUGH then cli.flush() end
end

local function for_reader(fd, text)
  return process.isatty(fd) and require("luaflow.console").plain(text) or text
end

--- Writes text with data in it to stdout, which must not steer a terminal.
function cli.show(text) cli.write(for_reader(1, text)) end

--- The same, at once, to stderr.
function cli.warn(text) process.write(2, for_reader(2, text)) end

--- `; did you mean 'runs'?`, or nothing when no name is near. Options have their `--` in
--- `prefix`.
function cli.suggestion(wrong, names, prefix)
  local near = require("luaflow.nearest").near(wrong, names)
  return near and ("; did you mean '%s%s'?"):format(prefix or "", near) or ""
end

--- The store of this command: --store, else that of everybody.
function cli.store_directory(args) return args.store or require("luaflow.stores").default() end

--- Tells what the library has warned of and was not told yet.
function cli.tell_warnings(rt)
  for warning in rt.warning, rt do cli.warn("luaflow: warning: " .. warning .. "\n") end
end

--- Opens the store, with further `options` of core.open.
--- @return userdata? runtime, string? message, string? code
function cli.open(args, options)
  local directory = cli.store_directory(args)
  options = options or {}
  options.store, options.create = directory, options.create or false
  options.executable = process.executable()
  local rt, message, code = require("luaflow.core").open(options)
  if rt == nil and code == "notfound" then
    return nil, ("there is no store at %s; 'luaflow run' makes one, --store names another"):format(directory), code
  end
  if rt then cli.tell_warnings(rt) end
  return rt, message, code
end

--- Opens the store, calls body(rt), closes it, and returns what body did.
function cli.with_store(args, body)
  local rt, message, code = cli.open(args)
  if rt == nil then return nil, message, code end
  local ok, status, why, kind = pcall(body, rt)
  cli.tell_warnings(rt)
  rt:close()
  if not ok then error(status, 0) end
  return status, why, kind
end

--- Loads a flow file, `with` attributes for every step.
--- @return userdata? flow, string? message, string? code
function cli.load_flow(path, with)
  if not process.exists(path) then return nil, ("there is no file %s"):format(path), "usage" end
  local problem = process.unreadable(path)
  if problem then return nil, ("cannot read %s: %s"):format(path, problem), "usage" end
  return require("luaflow.core").load(path, with or {})
end

--- Whether a flow has a step.
--- @return true?, string? message, string? code
function cli.check_step(about, name)
  local names = {}
  for i, step in ipairs(about.steps) do
    if step.name == name then return true end
    names[i] = step.name
  end
  local near = cli.suggestion(name, names)
  if near == "" then near = "; its steps are " .. table.concat(names, ", ") end
  return nil, ("flow %s has no step '%s'%s"):format(about.name, name, near), "usage"
end

--- For argparse: a whole number from `least` to `most`.
function cli.whole_number(least, most)
  return function(text)
    local n = text:find("^%d+$") and tonumber(text)
    if n and n >= least and n <= most then return n end
    return nil, ("'%s' is not a whole number from %d to %d"):format(text, least, most)
  end
end

--- "1,204 tasks", "1 task".
function cli.count(n, noun)
  local text = ("%d"):format(n):reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")
  return ("%s %s%s"):format(text, noun, n == 1 and "" or "s")
end

--- "12.4 MB"
function cli.size(bytes)
  local units = { "kB", "MB", "GB", "TB" }
  if bytes < 1000 then return cli.count(bytes, "byte") end
  for i, unit in ipairs(units) do
    bytes = bytes / 1000
    if bytes < 999.95 or i == #units then return ("%.1f %s"):format(bytes, unit) end
  end
end

-- ---- from argv to a command -----------------------------------------------------

local function overview()
  local lines = { "Usage: luaflow COMMAND [options]", "", "Runs flows written in Lua.", "", "Commands:" }
  for _, command in ipairs(COMMANDS) do
    lines[#lines + 1] = ("   %-10s %s"):format(command[1], command[2])
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "'luaflow help COMMAND' tells more about one of them."
  return table.concat(lines, "\n") .. "\n"
end

local function command_names()
  local names = {}
  for i, command in ipairs(COMMANDS) do names[i] = command[1] end
  return names
end

local function find_command(name)
  for _, command in ipairs(COMMANDS) do
    if command[1] == name then return require("luaflow.cli." .. name) end
  end
  return nil
end

--- The parser of a command, with the options that all of them have.
function cli.parser(name, command)
  local parser = require "luaflow.argparse"("luaflow " .. name, command.summary)
    :add_help(false)
    :help_max_width(88)
    :usage_max_width(88)
  command.declare(parser)
  parser:option("--store", "the store (default: $LUAFLOW_STORE, else the nearest .luaflow directory here or above)")
    :argname "DIR"
  parser:flag("-h --help", "show this help and exit")
  return parser
end

--- Shows a command's help.
function cli.help(parser)
  cli.show(parser:get_help() .. "\n")
  return cli.DONE
end

local function wants_help(argv)
  for _, arg in ipairs(argv) do
    if arg == "--" then return false end
    if arg == "--help" or arg == "-h" then return true end
  end
  return false
end

-- Says what went wrong; the exit code of it.
local function fail(message, code, name)
  cli.warn("luaflow: " .. message .. "\n")
  if code == "usage" then
    cli.warn(name and ("Try 'luaflow %s --help'.\n"):format(name) or "Try 'luaflow --help'.\n")
  end
  return exit_codes[code] or cli.USAGE
end

-- argv with `-` for each `_` in the names of options.
local function with_dashes(argv)
  local list, options_ended = {}, false
  for i, arg in ipairs(argv) do
    options_ended = options_ended or arg == "--"
    list[i] = options_ended and arg or arg:gsub("^%-%-[^=]+", function(name) return (name:gsub("_", "-")) end)
  end
  return list
end

local function read_arguments(name, command, argv)
  if command.parse then return command.parse(argv, wants_help(argv)) end
  local parser = cli.parser(name, command)
  if wants_help(argv) then return { help = parser } end
  local ok, parsed = parser:pparse(with_dashes(argv))
  if ok then return parsed end
  -- Of a letter any other is near to argparse.
  return nil, (parsed:gsub("^(unknown option '%-.').*", "%1")), "usage"
end

local function run_command(name, argv)
  local command = find_command(name)
  if command == nil then
    local is_option = name:sub(1, 2) == "--"
    local near = is_option and cli.suggestion(name:sub(3), { "help", "version" }, "--")
      or cli.suggestion(name, command_names())
    return fail(("unknown %s '%s'%s"):format(name:sub(1, 1) == "-" and "option" or "command", name, near), "usage")
  end
  local args, message, code = read_arguments(name, command, argv)
  if args == nil then return fail(message, code, name) end
  local status
  if args.help then
    status = cli.help(args.help)
  else
    status, message, code = command.run(args)
  end
  cli.flush()
  if status == nil then return fail(message, code, name) end
  return status
end

local function main(argv)
  local name = argv[1]
  if name == nil then
    cli.warn(overview())
    return cli.USAGE
  end
  if name == "help" or name == "--help" or name == "-h" then
    name = argv[2]
    if name == nil then
      cli.write(overview())
      cli.flush()
      return cli.DONE
    end
    return run_command(name, { "--help", unpack(argv, 3) })
  end
  if name == "--version" then name = "version" end
  return run_command(name, { unpack(argv, 2) })
end

--- Runs the command that `argv` names.
--- @return number exit code
function cli.main(argv)
  local ok, status = xpcall(main, function(failure)
    if type(failure) == "table" and failure.message then return failure end
    return debug.traceback("luaflow: " .. tostring(failure), 2)
  end, argv)
  if ok then return status end
  if type(status) == "table" then return fail(status.message) end
  cli.warn(status .. "\n")
  return cli.USAGE
end

return cli
