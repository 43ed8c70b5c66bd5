--- `luaflow repl`: the prompt (luaflow.repl) on this process's streams. Host only.
local cli = require "luaflow.cli"
local history = require "luaflow.history"
local process = require "luaflow.process"
local prompt = require "luaflow.prompt"

local repl = { summary = "Reads Lua and shows what it gives, with luaflow loaded." }

function repl.declare(parser)
  parser:epilog [[
An expression is shown, with or without = before it; _ is the last one. What is not complete goes on in
the next line. A local lives as long as its chunk. Tab completes, the arrow keys go through what was typed,
Ctrl-C interrupts, Ctrl-D leaves. When standard input is no terminal, the first error ends it with exit code 1.]]
end

local function write_to(file, what)
  return function(text)
    local ok, message = file:write(text)
    if ok then ok, message = file:flush() end
    if not ok then error({ message = ("cannot write to %s: %s"):format(what, message) }, 0) end
  end
end

local function flush()
  io.stdout:flush()
  io.stderr:flush()
end

-- ---- a terminal -------------------------------------------------------------------

-- What was typed before, and what keeps the rest. That it cannot be kept is no reason to stop.
local function open_history(editor)
  local path = history.path(os.getenv)
  if path == nil then return function(entry) editor:remember(entry) end end
  local file = io.open(path, "rb")
  if file then
    local entries, shortened = history.decode(file:read("*a") or "")
    file:close()
    for _, entry in ipairs(entries) do editor:remember(entry) end
    if shortened then prompt.replace(path, shortened) end
  end
  return function(entry)
    editor:remember(entry)
    prompt.append(path, history.encode(entry))
  end
end

local function banner(directory)
  local state = process.exists(directory) and "" or ", which the first run makes"
  return ("luaflow %s, store %s%s\nluaflow.run(\"flow.lua\") runs a flow. Tab completes, Ctrl-D leaves.\n"):format(
    require("luaflow").version, require("luaflow.console").plain(directory), state)
end

local function on_terminal(args)
  local complete = require "luaflow.complete"
  local editor = prompt.open {
    complete = function(text)
      return complete.tab(text, { globals = _G, list_directory = prompt.list, width = process.width() })
    end,
  }
  io.stdout:write(banner(cli.store_directory(args)))
  return {
    read = function(text)
      io.stdout:flush()
      return editor:read(text)
    end,
    remember = open_history(editor),
    call = prompt.call,
    width = process.width,
    has_colours = require("luaflow.cli.view").has_colours(1),
    is_terminal = true,
  }, function() editor:close() end
end

-- ---- anything else ----------------------------------------------------------------

local function on_pipe()
  return {
    read = function()
      local line, message = io.stdin:read("*l")
      return line, message or "end"
    end,
    remember = function() end,
    call = xpcall,
    width = process.width,
    is_terminal = false,
  }, function() end
end

-- ---- the command ------------------------------------------------------------------

local EXIT_CODES = { ["end"] = cli.DONE, failed = cli.RUN_FAILED, terminate = cli.INTERRUPTED }

function repl.run(args)
  local attend = require "luaflow.cli.attend"
  local luaflow = require "luaflow"
  require("luaflow.live").audience = attend
  if args.store then luaflow.use(args.store) end
  _G.luaflow = luaflow
  local is_terminal = process.isatty(0) and process.isatty(1)
  local options, close = (is_terminal and on_terminal or on_pipe)(args)
  options.write, options.warn = write_to(io.stdout, "standard output"), write_to(io.stderr, "standard error")
  options.flush, options.globals = flush, _G
  local why = require("luaflow.repl").new(options):run()
  close()
  if not attend.all(cli.warn) then process.exit(cli.INTERRUPTED) end
  if EXIT_CODES[why] then return EXIT_CODES[why] end
  return nil, "cannot read what is typed: " .. why
end

return repl
