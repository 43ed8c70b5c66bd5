--- What a command that runs steps shows of them on this process's stdout and stderr (see
--- luaflow.console). Host only.
local cli = require "luaflow.cli"
local process = require "luaflow.process"

local view = {}

local MAX_INPUT = 100 -- bytes of a failed task's input that are shown

local function octal(c) return ("\\%03o"):format(c:byte()) end

-- `text` as a word that a shell reads and no terminal obeys.
local function shell_quote(text)
  if text:find("^[%w@%%+=:,./_-]+$") then return text end
  if require("luaflow.console").plain(text) ~= text or text:find("%c") then
    return "$'" .. text:gsub("[%c\\'\128-\255]", octal) .. "'"
  end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- A command to type, on the store of this one.
local function command(args, ...)
  local words = { "luaflow", ... }
  if args.store then words[#words + 1], words[#words + 2] = "--store", args.store end
  for i, word in ipairs(words) do words[i] = shell_quote(word) end
  return table.concat(words, " ")
end

-- How often each step with a `retry` is tried.
local function attempts_of(about)
  local attempts = {}
  for _, step in ipairs(about.steps) do attempts[step.name] = step.retry and step.retry.times + 1 end
  return attempts
end

-- Whether `fd` is a terminal that does more than write one line below the other.
local function is_capable(fd)
  local terminal = os.getenv("TERM") or ""
  return terminal ~= "" and terminal ~= "dumb" and process.isatty(fd)
end

--- Whether what is written to `fd` may have colours.
function view.has_colours(fd)
  local no_color = os.getenv("NO_COLOR")
  return is_capable(fd) and (no_color == nil or no_color == "")
end

--- The console, or with `--json` the journal, of a command that follows a run of the flow
--- `args.about`. Where `more` has a field, it is that instead.
---   problem: why it could not be written to, which does not stop the run; of a reader that
---     left nothing is said
function view.new(args, more)
  local console = require "luaflow.console"
  local fd = more and more.fd or 1
  local shown
  local function write(text)
    if shown.broken then return end
    local ok, message = process.write(fd, text)
    if not ok then shown.broken, shown.problem = true, message end
  end
  local options = {
    make = args.json and console.journal or console.new,
    write = write,
    write_status = args.json and cli.warn or function(text) process.write(2, text) end,
    now = process.now,
    width = process.width,
    is_terminal = process.isatty(fd),
    has_status = is_capable(2),
    has_colours = view.has_colours(fd),
    is_raw = args.raw,
    is_quiet = args.quiet,
    explains = args.explain,
    steps = #args.about.steps,
    attempts = attempts_of(args.about),
    file = args.path,
    show_value = function(bytes) return require("luaflow.cli.values").short(bytes, MAX_INPUT) end,
    resume = function(id)
      return command(args, "resume", args.path, "--origin-run-id", ("%d"):format(id))
    end,
    logs = function(event)
      return command(args, "logs", ("%s/%d/%s/%d"):format(args.about.name, event.run, event.step, event.task))
    end,
  }
  for name, value in pairs(more or {}) do options[name] = value end
  shown = options.make(options)
  return shown
end

return view
