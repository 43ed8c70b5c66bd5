--- `luaflow run FLOW.lua`: runs a flow and shows how it goes. Host only.
local arguments = require "luaflow.cli.arguments"
local cli = require "luaflow.cli"
local follow = require "luaflow.cli.follow"

local run = { summary = "Runs a flow." }

local MAX_SEED = "18446744073709551615"

-- A seed has more digits than a number holds.
local function seed_text(text)
  local digits = text:match("^0*(%d+)$")
  if digits and (#digits < #MAX_SEED or #digits == #MAX_SEED and digits <= MAX_SEED) then return digits end
  return nil, ("'%s' is not a whole number from 0 to %s"):format(text, MAX_SEED)
end

local OPTIONS = arguments.options {
  { "seed", "N", "the seed of math.random (default: a random one)", convert = seed_text },
}

function run.declare(parser)
  parser:argument("FLOW.lua", "the flow file"):argname "FLOW.lua":target "flow"
  arguments.declare(parser, OPTIONS)
end

local function unknown_option(about, name)
  local names = arguments.names(OPTIONS)
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
    local param, is_negated = arguments.param(about.params, option.name)
    if param == nil then return unknown_option(about, option.name) end
    local text, message, code = option_text(option, param, is_negated)
    if text == nil then return nil, message, code end
    texts[param.name] = text
  end
  local unexpected = arguments.take_word(words)
  if unexpected then return nil, ("unexpected argument '%s'"):format(unexpected), "usage" end
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

--- Reads the command line. What comes back has the flow loaded (`flow`, `about`) and the
--- texts of its parameters (`texts`); or just `help`, a parser.
function run.parse(argv, wants_help)
  if wants_help then argv = arguments.without_help(argv) end
  local args, foreign, words = arguments.sort(argv, OPTIONS)
  if wants_help then return help_for(args and arguments.take_flow(words)) end
  if args == nil then return nil, foreign, "usage" end
  local ok, message, code = arguments.load_flow(args, words)
  if not ok then return nil, message, code end
  args.texts, message, code = read_params(args.about, foreign, words)
  if args.texts == nil then return nil, message, code end
  return args
end

function run.run(args)
  local status, message, code
  if args.dry_run then
    local values
    values, message, code = args.flow:params(args.texts, {})
    status = values and require("luaflow.cli.dry_run").show(args, values)
  else
    status, message, code = follow.run(args, true, function(rt, options)
      options.texts, options.seed = args.texts, args.seed
      return rt:start(args.flow, options)
    end)
  end
  args.flow:close()
  return status, message, code
end

return run
