--- The command line of `run` and `resume`: their options, and what else stands in argv.
--- Host only. These are read here and not by argparse, which only
--- writes the help: a flow adds options of its own, and a short run should not wait for a
--- parser to be built.
local cli = require "luaflow.cli"

local arguments = {}

local MAX_UINT32 = 2^32 - 1

-- Keys of a step that no other shares.
local OWN = { doc = true, next = true, foreach = true, switch = true }

-- For --with: an attribute that every step may be given.
local function attribute(text)
  local name, value = text:match("^([^=]+)=(.*)$")
  if name == nil then return nil, ("'%s' is not NAME=VALUE, as in --with retry=2"):format(text) end
  local known = require("luaflow.show").ATTRIBUTES
  for _, candidate in ipairs(known) do
    if candidate == name then return { name = name, value = value } end
  end
  local list = table.concat(known, ", ")
  if OWN[name] then return nil, ("'%s' is each step's own; all can be given %s"):format(name, list) end
  return nil, ("there is no attribute '%s'; the nearest is '%s' (there are %s)"):format(
    name, require("luaflow.nearest").name(name, known), list)
end

-- Each: a name, what its value is called (nothing: a flag), what it does.
local SHARED = {
  { "max-workers", "N", "so many tasks at once (default: one per core)", convert = cli.whole_number(1, MAX_UINT32) },
  { "max-num-splits", "N", "the most tasks one foreach may make (default: 1,000,000)",
    convert = cli.whole_number(1, MAX_UINT32) },
  { "tag", "T", "a tag for the run (repeatable)", is_list = true },
  { "run-id-file", "F", "write the run's id to this file before the first task starts" },
  { "with", "NAME=VALUE", "an attribute for every step that has none of its own, as retry=2 (repeatable)",
    is_list = true, convert = attribute },
  { "quiet", nil, "show only what steps print, and failures" },
  { "verbose", nil, "show every task, however many a step has" },
  { "keep-going", nil, "after a failure run on with what does not depend on it" },
  { "dry-run", nil, "check flow and parameters and say what would run" },
  { "json", nil, "one JSON object per event and line" },
  { "raw", nil, "send control characters of what steps print to the terminal as they are" },
}

--- The options of a command: `own`, and those that `run` and `resume` share.
function arguments.options(own)
  local options = { unpack(own) }
  for _, option in ipairs(SHARED) do options[#options + 1] = option end
  return options
end

--- Declares options to argparse, for the help.
function arguments.declare(parser, options)
  for _, option in ipairs(options) do
    local name, argname, help = "--" .. option[1], option[2], option[3]
    if argname then
      parser:option(name, help):argname(argname)
    else
      parser:flag(name, help)
    end
  end
end

--- The names of options.
function arguments.names(options)
  local names = {}
  for i, option in ipairs(options) do names[i] = option[1] end
  return names
end

-- What an argument looks like: "word", "short", or "long" with its name and value.
local function look_at(arg)
  if arg:sub(1, 1) ~= "-" or arg == "-" then return "word" end
  local name, equals, value = arg:match("^%-%-([^=]+)(=?)(.*)$")
  if name == nil then return "short" end
  return "long", name:gsub("_", "-"), equals == "=" and value or nil
end

local function by_name(options)
  local own = { store = { "store", "DIR" } }
  for _, option in ipairs(options) do own[option[1]] = option end
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

--- Sorts argv: `options` into a table, options that only a flow can know, and plain words.
---   foreign: { { name =, value = what follows its `=`, word = the word after it,
---              dashed = that begins with `-` }, … }
---   words: { { text =, after = the foreign option before it }, … }
--- @return table? args, table|string foreign_or_message, table? words
function arguments.sort(argv, options)
  local own, args, foreign, words = by_name(options), { tag = {}, with = {} }, {}, {}
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

--- Takes from `words` the flow file: the first that cannot be the value of a parameter,
--- else the first that looks like one.
function arguments.take_flow(words)
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

--- Loads the flow that `words` name into `args`: its `path`, `flow` and description (`about`).
--- @return true?, string? message, string? code
function arguments.load_flow(args, words)
  args.path = arguments.take_flow(words)
  if args.path == nil then return nil, "missing argument 'FLOW.lua'", "usage" end
  local message, code
  args.flow, message, code = cli.load_flow(args.path, args.with)
  if args.flow == nil then return nil, message, code end
  args.about = args.flow:describe()
  return true
end

--- The parameter that an option names, and whether it does as `--no-name`.
--- @return table? param, boolean? is_negated
function arguments.param(params, name)
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

--- The next of `words` that nobody has taken.
function arguments.take_word(words)
  for _, word in ipairs(words) do
    if not word.is_used then
      word.is_used = true
      return word.text
    end
  end
  return nil
end

--- argv without the wish for help.
function arguments.without_help(argv)
  local rest = {}
  for _, arg in ipairs(argv) do
    if arg ~= "--help" and arg ~= "-h" then rest[#rest + 1] = arg end
  end
  return rest
end

return arguments
