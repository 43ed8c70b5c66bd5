--- `luaflow run FLOW.lua`: runs a flow and shows how it goes. Host only.
local cli = require "luaflow.cli"
local process = require "luaflow.process"

local run = { summary = "Runs a flow." }

local MAX_UINT32 = 2^32 - 1
local MAX_SEED = "18446744073709551615"

-- A seed has more digits than a number holds.
local function seed_text(text)
  local digits = text:match("^0*(%d+)$")
  if digits and (#digits < #MAX_SEED or #digits == #MAX_SEED and digits <= MAX_SEED) then return digits end
  return nil, ("'%s' is not a whole number from 0 to %s"):format(text, MAX_SEED)
end

local function attribute(text)
  local name, value = text:match("^([^=]+)=(.*)$")
  if name then return { name = name, value = value } end
  return nil, ("'%s' is not NAME=VALUE, as in --with retry=2"):format(text)
end

-- A name, what its value is called (nothing: a flag), what it does. These are read here
-- and not by argparse, which only writes the help: the flow adds options of its own, and
-- a short run should not wait for a parser to be built.
local OPTIONS = {
  { "max-workers", "N", "so many tasks at once (default: one per core)", convert = cli.whole_number(1, MAX_UINT32) },
  { "max-num-splits", "N", "the most tasks one foreach may make (default: 1,000,000)",
    convert = cli.whole_number(1, MAX_UINT32) },
  { "tag", "T", "a tag for the run (repeatable)", is_list = true },
  { "run-id-file", "F", "write the run's id to this file before the first task starts" },
  { "seed", "N", "the seed of math.random (default: a random one)", convert = seed_text },
  { "with", "NAME=VALUE", "an attribute for every step that has none of its own, as retry=2 (repeatable)",
    is_list = true, convert = attribute },
  { "quiet", nil, "show only what steps print, and failures" },
  { "verbose", nil, "show every task, however many a step has" },
  { "keep-going", nil, "after a failure run on with what does not depend on it" },
  { "dry-run", nil, "check flow and parameters and say what would run" },
  { "json", nil, "one JSON object per event and line" },
  { "raw", nil, "send control characters of what steps print to the terminal as they are" },
}

function run.declare(parser)
  parser:argument("FLOW.lua", "the flow file"):argname "FLOW.lua":target "flow"
  for _, option in ipairs(OPTIONS) do
    local name, argname, help = "--" .. option[1], option[2], option[3]
    if argname then
      parser:option(name, help):argname(argname)
    else
      parser:flag(name, help)
    end
  end
end

-- ---- from argv ------------------------------------------------------------------

-- What an argument looks like: "word", "short", or "long" with its name and value.
local function look_at(arg)
  if arg:sub(1, 1) ~= "-" or arg == "-" then return "word" end
  local name, equals, value = arg:match("^%-%-([^=]+)(=?)(.*)$")
  if name == nil then return "short" end
  return "long", name:gsub("_", "-"), equals == "=" and value or nil
end

-- Luaflow's own options by name.
local function own_options()
  local own = { store = { "store", "DIR" } }
  for _, option in ipairs(OPTIONS) do own[option[1]] = option end
  return own
end

-- Puts an own option into `args`. `value` is what follows its `=`, `word` the next
-- argument. True when that was used.
local function set_option(args, option, value, word)
  local key = option[1]:gsub("-", "_")
  if option[2] == nil then
    if value then return nil, ("option '--%s' takes no value"):format(option[1]) end
    args[key] = true
    return false
  end
  local is_word_used = value == nil
  if is_word_used and (word == nil or look_at(word) ~= "word") then
    return nil, ("option '--%s' needs a value: %s"):format(option[1], option[2])
  end
  local result, message = value or word, nil
  if option.convert then result, message = option.convert(result) end
  if result == nil then return nil, ("option '--%s': %s"):format(option[1], message) end
  if option.is_list then
    table.insert(args[key], result)
  else
    args[key] = result
  end
  return is_word_used
end

-- Sorts argv without knowing the flow yet: own options, options that only the flow can
-- know, and plain words, one of which is the flow file.
-- @return table? args, foreign_or_message, words
local function sort_arguments(argv)
  local own, args, foreign, words = own_options(), { tag = {}, with = {} }, {}, {}
  local i, options_ended, after = 1, false, nil -- the foreign option that stands before
  while i <= #argv do
    local arg, previous = argv[i], after
    local kind, name, value = "word", nil, nil
    if not options_ended then kind, name, value = look_at(arg) end
    after = nil
    if arg == "--" and not options_ended then
      options_ended = true
    elseif kind == "word" then
      words[#words + 1] = { text = arg, after = previous }
      if previous then previous.word = words[#words] end
    elseif kind == "short" then
      if previous == nil then return nil, ("unknown option '%s'"):format(arg) end
      previous.dashed = true -- a value that needs the = form, or nothing anybody knows
    elseif own[name] then
      local is_word_used, message = set_option(args, own[name], value, argv[i + 1])
      if message then return nil, message end
      if is_word_used then i = i + 1 end
    else
      foreign[#foreign + 1] = { name = name, value = value }
      after = value == nil and foreign[#foreign] or nil
    end
    i = i + 1
  end
  return args, foreign, words
end

-- The word that is the flow file: the first that cannot be the value of a parameter,
-- else the first that looks like one.
local function take_flow(words)
  local flow
  for _, word in ipairs(words) do
    flow = flow or word.after == nil and word or nil
  end
  for _, word in ipairs(words) do
    flow = flow or word.text:find("%.lua$") and word or nil
  end
  flow = flow or words[1]
  if flow == nil then return nil end
  flow.is_used = true
  return flow.text
end

local function find_param(params, name)
  local plain = name:gsub("%-", "_")
  for _, param in ipairs(params) do
    if param.name == plain then return param, false end
  end
  local negated = plain:match("^no_(.+)$")
  for _, param in ipairs(params) do
    if param.name == negated and param.type == "boolean" then return param, true end
  end
  return nil
end

local function unknown_option(about, name)
  local names = {}
  for _, option in ipairs(OPTIONS) do names[#names + 1] = option[1] end
  for _, param in ipairs(about.params) do names[#names + 1] = param.name:gsub("_", "-") end
  return nil, ("unknown option '--%s': flow %s has no such parameter%s"):format(name, about.name,
    cli.suggestion(name, names, "--")), "usage"
end

-- The text of one parameter from its option.
local function option_text(option, param, is_negated)
  if is_negated then
    if option.value then return nil, ("'--%s' takes no value"):format(option.name), "usage" end
    return "false"
  end
  if option.value then return option.value end
  local word = option.word
  local has_word = word and not word.is_used
  if param.type == "boolean" and not param.separator and not has_word and not option.dashed then return "true" end
  if not has_word then
    return nil, ("option '--%s' needs a value (%s); one that begins with '-' is written --%s=VALUE")
      :format(option.name, param.type, option.name), "usage"
  end
  word.is_used = true
  return word.text
end

-- The texts of the parameters that are given; the environment is read with the defaults.
local function read_params(about, foreign, words)
  local texts = {}
  for _, option in ipairs(foreign) do
    local param, is_negated = find_param(about.params, option.name)
    if param == nil then return unknown_option(about, option.name) end
    local text, message, code = option_text(option, param, is_negated)
    if text == nil then return nil, message, code end
    texts[param.name] = text
  end
  for _, word in ipairs(words) do
    if not word.is_used then return nil, ("unexpected argument '%s'"):format(word.text), "usage" end
  end
  return texts
end

-- Adds the flow's parameters to the help.
local function declare_params(parser, about)
  local declared = {}
  for i, param in ipairs(about.params) do
    local name = "--" .. param.name:gsub("_", "-")
    local help = require("luaflow.show").param_help(param)
    if param.type == "boolean" and not param.separator then
      declared[i] = parser:flag(name .. " --no-" .. name:sub(3), help)
    else
      declared[i] = parser:option(name, help):argname(param.type:upper())
    end
  end
  if #declared > 0 then
    parser:group("Parameters of " .. about.name, unpack(declared))
    parser:epilog "A parameter is also read from the environment variable LUAFLOW_PARAM_NAME."
  end
end

-- The help, with the flow's parameters where the flow is known.
local function help_for(path)
  local parser = cli.parser("run", run)
  if path then
    local flow, message, code = cli.load_flow(path)
    if flow == nil then return nil, message, code end
    declare_params(parser, flow:describe())
    flow:close()
  end
  return { help = parser }
end

local function without_help(argv)
  local rest = {}
  for _, arg in ipairs(argv) do
    if arg ~= "--help" and arg ~= "-h" then rest[#rest + 1] = arg end
  end
  return rest
end

--- Reads the command line. What comes back has the flow loaded (`flow`, `about`) and the
--- texts of its parameters (`texts`); or just `help`, a parser.
function run.parse(argv, wants_help)
  if wants_help then argv = without_help(argv) end
  local args, foreign, words = sort_arguments(argv)
  if wants_help then return help_for(args and take_flow(words)) end
  if args == nil then return nil, foreign, "usage" end
  args.path = take_flow(words)
  if args.path == nil then return nil, "missing argument 'FLOW.lua'", "usage" end
  local message, code
  args.flow, message, code = cli.load_flow(args.path, args.with)
  if args.flow == nil then return nil, message, code end
  args.about = args.flow:describe()
  args.texts, message, code = read_params(args.about, foreign, words)
  if args.texts == nil then return nil, message, code end
  return args
end

-- ---- running --------------------------------------------------------------------

local function octal(c) return ("\\%03o"):format(c:byte()) end

-- `text` as a word that a shell reads and no terminal obeys.
local function shell_quote(text)
  if text:find("^[%w@%%+=:,./_-]+$") then return text end
  if require("luaflow.console").plain(text) ~= text or text:find("%c") then
    return "$'" .. text:gsub("[%c\\'\128-\255]", octal) .. "'"
  end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- The function that tells what to type to resume a run.
local function resume_command(args)
  return function(id)
    local command = ("luaflow resume %s --origin-run-id %d"):format(shell_quote(args.path), id)
    if args.store then command = command .. " --store " .. shell_quote(args.store) end
    return command
  end
end

-- Whether `fd` is a terminal that does more than write one line below the other.
local function is_capable(fd)
  local terminal = os.getenv("TERM") or ""
  return terminal ~= "" and terminal ~= "dumb" and process.isatty(fd)
end

-- Shows the run's events on `stdout`. A console that cannot be written to does not stop
-- the run: it is said once, at the end; of a reader that left nothing is said.
local function new_view(args)
  local console = require "luaflow.console"
  local view
  local function write(text)
    if view.broken then return end
    local ok, message = process.write(1, text)
    if not ok then view.broken, view.problem = true, message end
  end
  local no_color = os.getenv("NO_COLOR")
  view = (args.json and console.journal or console.new) {
    write = write,
    write_status = args.json and cli.warn or function(text) process.write(2, text) end,
    now = process.now,
    width = process.width,
    is_terminal = process.isatty(1),
    has_status = not args.json and is_capable(2),
    has_colours = is_capable(1) and (no_color == nil or no_color == ""),
    is_raw = args.raw,
    is_quiet = args.quiet,
    steps = #args.about.steps,
    resume = resume_command(args),
  }
  return view
end

local WAIT_SECONDS = 0.1 -- at most, for a signal that came just before waiting
local DELIVER_SECONDS = 0.05

-- Shows the run until it ends. The first interrupt cancels it, the second abandons it.
local function follow(rt, handle, view)
  local heard = 0
  while true do
    local interrupts = process.interrupts()
    if interrupts > heard then
      if interrupts > 1 then
        view:abandoned(handle:id())
        view:close()
        process.exit(cli.INTERRUPTED)
      end
      heard = interrupts
      handle:cancel()
      view:interrupted()
    end
    rt:poll(DELIVER_SECONDS)
    view:flush()
    if handle:status() ~= "running" then return end
    process.wait_readable(rt:fd(), WAIT_SECONDS)
  end
end

local function exit_code(handle)
  local status = handle:status()
  if status == "done" then return cli.DONE end
  if status == "interrupted" then return cli.INTERRUPTED end
  local _, code = handle:problem()
  return code == "store" and cli.STORE or cli.RUN_FAILED
end

--- Starts a run with start(rt, options) and shows it until it ends; `args` as parsed.
--- @return number? exit_code, string? message, string? code
function run.execute(args, start)
  process.watch_signals()
  local rt, message, code = require("luaflow.core").open {
    store = cli.store_directory(args), create = true, wait_for_host = true,
  }
  if rt == nil then return nil, message, code end
  local view = new_view(args)
  local handle
  handle, message, code = start(rt, {
    tags = args.tag,
    max_workers = args.max_workers,
    max_num_splits = args.max_num_splits,
    progress_after = (args.verbose or args.json) and 0 or 50,
    keep_going = args.keep_going,
    run_id_file = args.run_id_file,
    on_event = function(event) view:event(event) end,
  })
  if handle == nil then
    rt:close()
    return nil, message, code
  end
  follow(rt, handle, view)
  view:close()
  local status = exit_code(handle)
  handle:close()
  rt:close()
  if view.problem then return nil, "cannot write to standard output: " .. view.problem end
  return status
end

local function dry_run(args)
  local values, message, code = args.flow:params(args.texts, {})
  if values == nil then return nil, message, code end
  local json = require "luaflow.json"
  local names, steps = {}, {}
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names)
  for i, step in ipairs(args.about.steps) do steps[i] = step.name end
  if args.json then
    cli.show(json.encode(json.ordered({ "flow", "params", "steps" }, {
      flow = args.about.name, params = json.ordered(names, values), steps = steps,
    })) .. "\n")
    return cli.DONE
  end
  cli.show(("Would run flow %s (%s).\n"):format(args.about.name, args.path))
  if #names > 0 then cli.show("Parameters:\n") end
  for _, name in ipairs(names) do cli.show(("    %s = %s\n"):format(name, json.encode(values[name]))) end
  cli.show("Steps:\n")
  for _, name in ipairs(steps) do cli.show("    " .. name .. "\n") end
  return cli.DONE
end

local NOT_APPLIED = { "catch", "env", "isolate", "resources", "retry", "timeout" }

-- Attributes that this version checks, shows and stores, but does not act on.
local function warn_of_attributes(about)
  local found = {}
  for _, name in ipairs(NOT_APPLIED) do
    for _, step in ipairs(about.steps) do
      if step[name] then
        found[#found + 1] = name
        break
      end
    end
  end
  if #found == 0 then return end
  cli.warn(("luaflow: this version checks %s but does not act on %s; the flow runs without\n")
    :format(table.concat(found, ", "), #found == 1 and "it" or "them"))
end

function run.run(args)
  local status, message, code
  warn_of_attributes(args.about)
  if args.dry_run then
    status, message, code = dry_run(args)
  else
    status, message, code = run.execute(args, function(rt, options)
      options.texts, options.seed = args.texts, args.seed
      return rt:start(args.flow, options)
    end)
  end
  args.flow:close()
  return status, message, code
end

return run
