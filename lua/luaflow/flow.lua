--- What a flow file returns, checked and brought into one form. Runs anywhere.
---
--- The normal table is plain data: the graph is made from it, and it is stored with every
--- run as the flow's description.
---
---     { name=, doc=, file=,
---       params = { { name=, type=, default=, computed=true, untyped=true, required=, help=,
---                    separator=, choices={…} }, … },                      -- sorted by name
---       steps  = { { name=, doc=, line=, where="file:line", join=, has_function=,
---                    kind="last|linear|branch|foreach|switch", next={names},
---                    cases={ { key=, next= }, … }, foreach=, switch=,
---                    retry={ times=, delay=, backoff= }, timeout=, catch=, isolate=, env={…},
---                    resources={…}, max_parallel= }, … } }                -- sorted by name
---
--- A default that is a function has `computed`, and `untyped` when no type is said either.
--- A step has `broken` when its transition is wrong, and `doubtful` when its function is.
local nearest = require "luaflow.nearest"
local params = require "luaflow.params"

local flow = {}

local MAX_NAME = 128
local MAX_WHOLE = 2^31 - 1

local FLOW_KEYS = { "name", "doc", "params", "steps" }
local STEP_KEYS = {
  "next", "foreach", "switch", "doc", "retry", "timeout", "catch", "isolate", "env", "resources", "max_parallel",
}
local PARAM_KEYS = { "type", "default", "required", "help", "separator", "choices" }
local RETRY_KEYS = { "times", "delay", "backoff" }
local RESOURCE_KEYS = { "cpu", "memory", "gpu" }

local function set_of(words)
  local set = {}
  for word in words:gmatch("%S+") do set[word] = true end
  return set
end

local SELF_NAMES = set_of "has get input index foreach_stack merge_artifacts"
local RUN_OPTIONS = set_of [[help store json max_workers max_num_splits tag run_id_file seed with quiet verbose
  keep_going dry_run raw]]
local RESERVED_STEPS = set_of "collect"

-- ---- words ----------------------------------------------------------------------

local KINDS = {
  ["nil"] = "nil", number = "a number", string = "a string", boolean = "a boolean", table = "a table",
  ["function"] = "a function", userdata = "a userdata", thread = "a coroutine", cdata = "a cdata",
}

local function kind_of(value) return KINDS[type(value)] end

--- A value as it stands in the flow file, or what it is.
local function shown(value)
  if type(value) == "string" then return (("%q"):format(value):gsub("\n", "n")) end
  if type(value) == "number" or type(value) == "boolean" then return tostring(value) end
  return kind_of(value)
end

--- 'name', ["a b"] or [1].
local function key_shown(key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then return "'" .. key .. "'" end
  return "[" .. shown(key) .. "]"
end

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  local rank = { number = 1, string = 2, boolean = 3 }
  table.sort(keys, function(a, b)
    local rank_a, rank_b = rank[type(a)] or 4, rank[type(b)] or 4
    if rank_a ~= rank_b then return rank_a < rank_b end
    if rank_a <= 2 then return a < b end
    if rank_a == 3 then return not a and b end
    return type(a) < type(b) -- a message calls them by that alone
  end)
  return keys
end

local function is_identifier(name) return type(name) == "string" and name:find("^[%a_][%w_]*$") ~= nil end

--- What is wrong with a name, or nil.
local function name_problem(name)
  if type(name) ~= "string" then return ("%s is no name: a name is a string"):format(shown(name)) end
  if not is_identifier(name) then
    return ("%s is no identifier: write letters, digits and _, no digit first"):format(shown(name))
  end
  if #name > MAX_NAME then return ("the name '%s…' is longer than %d bytes"):format(name:sub(1, 20), MAX_NAME) end
end

-- ---- the list of problems -------------------------------------------------------

local Problems = {}
Problems.__index = Problems

function Problems:add(where, format, ...)
  self[#self + 1] = { where = where, sentence = format:format(...) }
end

--- Calls `tell` with a half sentence for each key of `t` that is not in `known`.
--- @return boolean  whether there was one
local function find_unknown_keys(t, known, tell)
  local is_known, found = set_of(table.concat(known, " ")), false
  for _, key in ipairs(sorted_keys(t)) do
    if not is_known[key] then
      found = true
      local cure = type(key) == "string" and ("the nearest known one is '%s'"):format(nearest.name(key, known))
        or "the known ones are " .. table.concat(known, ", ")
      tell(("an unknown key %s; %s"):format(key_shown(key), cure))
    end
  end
  return found
end

function Problems:unknown_keys(where, whose, t, known)
  return find_unknown_keys(t, known, function(what) self:add(where, "%s has %s", whose, what) end)
end

--- The problems as text, one a line, in the order of the file.
function flow.report(problems, path)
  local lines, seen = {}, {}
  for _, problem in ipairs(problems) do
    local file, number = (problem.where or ""):match("^(.*):(%d+)$")
    local text = ("%s: %s"):format(problem.where or path, problem.sentence)
    if not seen[text] then
      seen[text] = true
      lines[#lines + 1] = { file = file ~= path and file or "", number = tonumber(number) or 0, text = text }
    end
  end
  table.sort(lines, function(a, b)
    if a.file ~= b.file then return a.file < b.file end
    if a.number ~= b.number then return a.number < b.number end
    return a.text < b.text
  end)
  for i, line in ipairs(lines) do lines[i] = line.text end
  return table.concat(lines, "\n")
end

-- ---- attributes -----------------------------------------------------------------
--
-- Each takes a value and gives its normal form, or nil after calling `bad` with the name
-- of what is wrong, its value and the cure.

local function is_number(value, least)
  return type(value) == "number" and value >= least and value < math.huge
end

local function is_whole(value, least)
  return is_number(value, least) and value % 1 == 0 and value <= MAX_WHOLE
end

local function has_unknown_keys(name, t, known, bad)
  return find_unknown_keys(t, known, function(what) bad(name, t, "it has " .. what) end)
end

local attributes = {}

function attributes.retry(value, bad)
  local cure = "write a whole number of further attempts, or { times = 3, delay = 10, backoff = 2 }"
  if is_whole(value, 0) then return { times = value, delay = 0, backoff = 1 } end
  if type(value) ~= "table" then return bad("retry", value, cure) end
  if has_unknown_keys("retry", value, RETRY_KEYS, bad) then return nil end
  local delay, backoff = value.delay, value.backoff
  if delay == nil then delay = 0 end
  if backoff == nil then backoff = 1 end
  if not is_whole(value.times, 0) then return bad("retry.times", value.times, cure) end
  if not is_number(delay, 0) then return bad("retry.delay", delay, "write seconds, from 0") end
  if not is_number(backoff, 1) then return bad("retry.backoff", backoff, "write a factor, from 1") end
  return { times = value.times, delay = delay, backoff = backoff }
end

function attributes.timeout(value, bad)
  if is_number(value, 0) and value > 0 then return value end
  return bad("timeout", value, "write seconds, more than 0")
end

function attributes.catch(value, bad)
  local cure = "write the name of the artifact that gets the failure, as in catch = \"failure\""
  if not is_identifier(value) or #value > MAX_NAME then return bad("catch", value, cure) end
  if value:sub(1, 1) == "_" then return bad("catch", value, "names with _ first are never stored") end
  if SELF_NAMES[value] then return bad("catch", value, "self has something of that name already") end
  return value
end

function attributes.isolate(value, bad)
  if type(value) == "boolean" then return value end
  return bad("isolate", value, "write true or false")
end

function attributes.env(value, bad)
  local cure = "write a table of strings, { NAME = \"value\" }"
  if type(value) ~= "table" then return bad("env", value, cure) end
  local env = {}
  for _, name in ipairs(sorted_keys(value)) do
    local text = value[name]
    if type(name) ~= "string" or name == "" or name:find("[=%z]") then
      return bad("env", value, ("%s is no name of a variable"):format(shown(name)))
    end
    if type(text) ~= "string" or text:find("%z") then return bad("env." .. name, text, cure) end
    env[name] = text
  end
  return env
end

function attributes.resources(value, bad)
  if type(value) ~= "table" then
    return bad("resources", value, "write { cpu = 2, memory = 4096, gpu = 0 }")
  end
  if has_unknown_keys("resources", value, RESOURCE_KEYS, bad) then return nil end
  if value.cpu ~= nil and not is_whole(value.cpu, 1) then
    return bad("resources.cpu", value.cpu, "write a whole number, from 1")
  end
  for _, name in ipairs { "memory", "gpu" } do
    if value[name] ~= nil and not is_number(value[name], 0) then
      return bad("resources." .. name, value[name], "write a number, from 0")
    end
  end
  return { cpu = value.cpu, memory = value.memory, gpu = value.gpu }
end

function attributes.max_parallel(value, bad)
  if is_whole(value, 1) then return value end
  return bad("max_parallel", value, "write how many tasks at once, a whole number from 1")
end

local ATTRIBUTES = { "retry", "timeout", "catch", "isolate", "env", "resources", "max_parallel" }

--- Makes the `bad` of the attributes' checks: it tells `say` and returns nil.
local function refuser(say)
  return function(name, value, cure)
    say(("%s = %s: %s"):format(name, type(value) == "table" and "{…}" or shown(value), cure))
    return nil
  end
end

local function may_have(step, name)
  return name ~= "catch" or step.kind == "last" or step.kind == "linear"
end

--- Attributes for every step, as `--with retry=2` gives them: a list of { name=, value= },
--- the values being texts.
--- @return table? attributes, string? message  a usage error
function flow.with(list)
  local known = {}
  for _, entry in ipairs(list) do
    local check, text = attributes[entry.name], entry.value
    if not check then
      return nil, ("--with %s=%s: there is no attribute '%s'; the nearest is '%s'"):format(entry.name, text,
        entry.name, nearest.name(entry.name, ATTRIBUTES))
    end
    local value = tonumber(text) or text
    if text == "true" or text == "false" then value = text == "true" end
    local message
    known[entry.name] = check(value, refuser(function(sentence) message = sentence end))
    if message then return nil, ("--with %s=%s: %s"):format(entry.name, text, message) end
  end
  return known
end

-- ---- steps ----------------------------------------------------------------------

--- Where a function stands in its file; nil for one that is not written in Lua.
local function place_of(fn)
  local info = debug.getinfo(fn, "S")
  if info.what == "C" then return nil end
  local file = info.source:match("^@(.*)") or info.short_src
  return ("%s:%d"):format(file, info.linedefined), info.linedefined
end

--- Whether a step's function makes it a join.
--- @return boolean? is_join  nil when it cannot be told, which is a problem
local function read_function(fn, step, problems)
  local info = debug.getinfo(fn, "Su")
  step.has_function = true
  if info.what == "C" then
    problems:add(step.where, "step '%s' is a C function; wrap it: function(self) … end", step.name)
  elseif info.isvararg then
    problems:add(step.where, "step '%s' has a vararg function; write function(self), or function(self, inputs) for "
      .. "a join", step.name)
  elseif info.nparams > 2 then
    problems:add(step.where, "step '%s' has a function of %d parameters; write function(self), or "
      .. "function(self, inputs) for a join", step.name, info.nparams)
  else
    return info.nparams == 2
  end
  return nil
end

--- The length of a list of anything, nil when `t` has other keys or holes.
local function list_length(t)
  local n = 0
  for _ in pairs(t) do n = n + 1 end
  for i = 1, n do
    if t[i] == nil then return nil end
  end
  return n
end

local function is_target(value) return type(value) == "string" and not value:find("%z") end

--- Reads `next` as a table of cases.
local function read_cases(targets, step, bad)
  step.cases = {}
  for _, key in ipairs(sorted_keys(targets)) do
    local target, kind = targets[key], type(key)
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      bad("has %s as a case; a case is a string, a number or a boolean", kind_of(key))
    elseif not is_target(target) then
      bad("goes to %s in the case %s; write the name of a step", shown(target), shown(key))
    else
      step.cases[#step.cases + 1] = { key = key, next = target }
      step.next[#step.next + 1] = target
    end
  end
end

local function read_branch(targets, step, bad)
  if not list_length(targets) then
    local what = targets[1] == nil and "names cases in next but no switch; write switch = \"artifact\", the one "
      .. "whose value decides" or "has a next that is no list; write next = { \"a\", \"b\" }"
    bad("%s", what)
  end
  for _, key in ipairs(sorted_keys(targets)) do
    local target = targets[key]
    if is_target(target) then
      step.next[#step.next + 1] = target
    else
      bad("branches to %s; write the name of a step", shown(target))
    end
  end
end

--- Whose value a foreach or switch goes by.
local function read_over(name, raw, step, bad)
  local over = raw[name]
  if over == nil then return end
  step[name] = type(over) == "string" and over or ""
  if type(over) ~= "string" or over == "" or #over > MAX_NAME then
    bad("has %s = %s; write the name of an artifact or parameter", name, shown(over))
  elseif over:sub(1, 1) == "_" then
    bad("has %s = %s, but names with _ first are never stored; choose another", name, shown(over))
  elseif SELF_NAMES[over] then
    bad("has %s = %s, but self has something of that name and no artifact can; choose another", name, shown(over))
  end
end

--- Fills in what follows the step: kind, next, cases, foreach, switch.
local function read_transition(raw, step, problems)
  local targets = raw.next
  local function bad(format, ...)
    step.broken = true
    problems:add(step.where, "step '%s' " .. format, step.name, ...)
  end
  step.next = {}
  read_over("foreach", raw, step, bad)
  read_over("switch", raw, step, bad)
  step.kind = step.foreach and "foreach" or step.switch and "switch" or targets == nil and "last"
    or type(targets) == "table" and "branch" or "linear"
  if step.foreach and step.switch then
    bad("has both foreach and switch; give one of them to a step of its own")
  end
  if targets == nil then return end
  if is_target(targets) then
    step.next[1] = targets
    if step.switch then
      bad("has switch = %s but one target; write next = { key = \"step\", … } with a step for every value",
        shown(raw.switch))
    end
  elseif type(targets) ~= "table" then
    bad("has next = %s; write the name of a step, or a table of names", shown(targets))
  elseif step.switch then
    read_cases(targets, step, bad)
  else
    read_branch(targets, step, bad)
    if step.foreach and #step.next == 1 and not step.broken then
      bad("has foreach = %s and a table as next; write next = %s", shown(raw.foreach), shown(step.next[1]))
    end
  end
end

local function read_attributes(raw, step, problems, param_names)
  local function say(sentence) problems:add(step.where, "step '%s' has %s", step.name, sentence) end
  for _, name in ipairs(ATTRIBUTES) do
    if raw[name] ~= nil then step[name] = attributes[name](raw[name], refuser(say)) end
  end
  if raw.catch ~= nil and not may_have(step, "catch") then
    say(("catch and a %s: a step that decides what follows cannot succeed by failing; leave catch out, or let a "
      .. "step of its own decide"):format(step.kind))
  elseif step.catch and param_names[step.catch] then
    say(("catch = %s: a parameter has that name and cannot be written"):format(shown(step.catch)))
  end
end

--- Adds the attributes for every step that this one may have and does not.
local function add_attributes(raw, step, with)
  for _, name in ipairs(ATTRIBUTES) do
    if with[name] ~= nil and raw[name] == nil and may_have(step, name) then step[name] = with[name] end
  end
  if step.timeout or step.env then step.isolate = true end
end

--- The step's own table as far as it can be used, and its function.
local function open_step(value, step, problems)
  if type(value) == "function" then return { value }, value end
  if type(value) ~= "table" then
    problems:add(nil, "step '%s' is %s; write a function, or a table with the function first", step.name,
      kind_of(value))
    step.doubtful = true
    return {}
  end
  local fn = value[1]
  if fn ~= nil and type(fn) ~= "function" then
    problems:add(nil, "step '%s' has %s at [1], where its function goes", step.name, kind_of(fn))
    step.doubtful = true
    return value
  end
  return value, fn
end

local function check_step_keys(raw, step, problems)
  local others = {}
  for key, value in pairs(raw) do
    if key == 2 and type(value) == "function" then
      problems:add(step.where, "step '%s' has two functions; a step has one", step.name)
    elseif key ~= 1 then
      others[key] = value
    end
  end
  problems:unknown_keys(step.where, ("step '%s'"):format(step.name), others, STEP_KEYS)
end

local function read_doc(raw, step, problems)
  if raw.doc == nil then return end
  if type(raw.doc) == "string" then
    step.doc = raw.doc
  else
    problems:add(step.where, "step '%s' has doc = %s: write a string", step.name, shown(raw.doc))
  end
end

local function read_step(name, value, problems, options)
  local step = { name = name, join = false, has_function = false }
  local raw, fn = open_step(value, step, problems)
  if fn then step.where, step.line = place_of(fn) end
  check_step_keys(raw, step, problems)
  read_doc(raw, step, problems)
  read_transition(raw, step, problems)
  if type(value) ~= "table" and not fn then
    step.kind, step.broken = "linear", true -- nobody knows where it goes
  end
  if fn then
    local is_join = read_function(fn, step, problems)
    step.join = is_join == true
    step.doubtful = is_join == nil or nil
  end
  read_attributes(raw, step, problems, options.param_names)
  add_attributes(raw, step, options.with)
  return step, fn
end

local function read_steps(raw, problems, options)
  local steps, functions = {}, {}
  if type(raw) ~= "table" then
    problems:add(nil, "steps is %s; write steps = { start = function(self) … end, … }", kind_of(raw))
    return nil, functions
  end
  for _, name in ipairs(sorted_keys(raw)) do
    local wrong = name_problem(name)
    if wrong then
      problems:add(type(raw[name]) == "function" and place_of(raw[name]) or nil, "a step's name is wrong: %s", wrong)
    elseif RESERVED_STEPS[name] then
      problems:add(nil, "step '%s' has a reserved name (inputs:%s is a method); choose another", name, name)
    end
    if type(name) == "string" then
      local step, fn = read_step(name, raw[name], problems, options)
      steps[#steps + 1], functions[name] = step, fn
    end
  end
  return steps, functions
end

-- ---- parameters -----------------------------------------------------------------

--- What is wrong with a parameter's name, or nil.
local function param_name_problem(name)
  local wrong = name_problem(name)
  if wrong then return "a parameter's name is wrong: " .. wrong end
  if SELF_NAMES[name] then
    return ("parameter '%s' has a reserved name (self has something of that name); choose another"):format(name)
  end
  if RUN_OPTIONS[name] then
    return ("parameter '%s' has a reserved name (run has an option --%s); choose another"):format(name,
      (name:gsub("_", "-")))
  end
end

--- Takes `key` of a parameter's table if it has the type `kind`.
local function take(raw, param, key, kind, bad)
  if raw[key] == nil then return end
  if type(raw[key]) == kind then
    param[key] = raw[key]
  else
    bad("has %s = %s: write %s", key, shown(raw[key]), kind == "string" and "a string" or "true or false")
  end
end

local function read_type(raw, param, bad)
  if raw.type ~= nil and not params.types[raw.type] then
    local names = { "string", "number", "integer", "boolean", "json", "file" }
    bad("has type = %s; the types are %s%s", shown(raw.type), table.concat(names, ", "), type(raw.type) == "string"
      and (", the nearest is '%s'"):format(nearest.name(raw.type, names)) or "")
    return false
  end
  param.type = raw.type or params.infer(raw.default, raw.separator) or "string"
  if param.type == "file" and param.separator then
    bad("has type = \"file\" and a separator; a file's content is one value")
    return false
  end
  if type(raw.default) == "function" then
    param.computed = true
    param.untyped = raw.type == nil or nil
  end
  return true
end

local function read_choices(raw, param, bad)
  local n = type(raw.choices) == "table" and list_length(raw.choices)
  if not n or n == 0 then
    return bad("has choices = %s: write a list of values, { \"low\", \"high\" }",
      type(raw.choices) == "table" and "{…}" or shown(raw.choices))
  end
  local choices = {}
  for i, choice in ipairs(raw.choices) do
    if type(choice) == "table" or not (param.untyped or params.has_type(param.type, choice)) then
      return bad("has %s in choices, which is not %s", shown(choice), params.types[param.type])
    end
    choices[i] = choice
  end
  param.choices = choices
end

local function read_default(raw, param, bad)
  local default = raw.default
  if default == nil or param.computed then return end
  if not param.separator and not params.has_type(param.type, default) then
    return bad("has default = %s, which is not %s", shown(default), params.types[param.type])
  end
  if param.type == "file" then -- read when a run starts
    param.default = default
    return
  end
  local ok, value = params.convert(param, default)
  if not ok then return bad("has a wrong default: it %s", value) end
  param.default = value
end

local function read_param(name, raw, problems)
  local param = { name = name }
  local name_shown = type(name) == "string" and name or shown(name)
  local function bad(format, ...) problems:add(nil, "parameter '%s' " .. format, name_shown, ...) end
  local wrong = param_name_problem(name)
  if wrong then problems:add(nil, "%s", wrong) end
  if type(raw) ~= "table" then
    bad("is %s; write %s = { default = %s }", kind_of(raw), name_shown, shown(raw))
    return param
  end
  problems:unknown_keys(nil, ("parameter '%s'"):format(name_shown), raw, PARAM_KEYS)
  take(raw, param, "help", "string", bad)
  take(raw, param, "separator", "string", bad)
  if param.separator == "" then
    param.separator = nil
    bad("has separator = \"\": write what stands between two values, as in \",\"")
  end
  take(raw, param, "required", "boolean", bad)
  if read_type(raw, param, bad) then
    if raw.choices ~= nil then read_choices(raw, param, bad) end
    read_default(raw, param, bad)
  end
  return param
end

--- Names that differ in case alone have one variable of the environment.
local function check_variables(list, problems)
  local owners = {}
  for _, param in ipairs(list) do
    if is_identifier(param.name) then
      local variable = params.variable(param.name)
      local owner = owners[variable]
      if owner then
        problems:add(nil, "parameters '%s' and '%s' would both be given by the environment variable %s; rename one",
          owner, param.name, variable)
      end
      owners[variable] = owner or param.name
    end
  end
end

local function read_params(raw, problems)
  local list, defaults, names = {}, {}, {}
  if raw == nil then return list, defaults, names end
  if type(raw) ~= "table" then
    problems:add(nil, "params is %s; write params = { name = { default = … }, … }", kind_of(raw))
    return list, defaults, names
  end
  for _, name in ipairs(sorted_keys(raw)) do
    local param = read_param(name, raw[name], problems)
    list[#list + 1], names[name] = param, param
    if param.computed then defaults[name] = raw[name].default end
  end
  for name in pairs(names) do
    local positive = type(name) == "string" and name:match("^no_(.+)$")
    if positive and names[positive] and names[positive].type == "boolean" then
      problems:add(nil, "parameter '%s' is also how --no-%s switches '%s' off; choose another name", name,
        (positive:gsub("_", "-")), positive)
    end
  end
  check_variables(list, problems)
  return list, defaults, names
end

-- ---- the whole ------------------------------------------------------------------

local function read_name(raw, default_name, problems)
  local name = raw.name
  if name == nil then name = default_name end
  if type(name) ~= "string" or name == "" then
    problems:add(nil, "the flow has name = %s: write a string", shown(name))
  elseif #name > MAX_NAME or name:find("[/%c]") then
    problems:add(nil, "the flow's name %s is wrong: write at most %d bytes without '/'", shown(name), MAX_NAME)
  end
  return type(name) == "string" and name or default_name
end

local function read_top(raw, problems)
  if raw.steps == nil and raw.start ~= nil then
    problems:add(nil, "the flow has its steps at the top; put them into steps = { start = …, … }")
    return false
  end
  local has_unknown = problems:unknown_keys(nil, "the flow", raw, FLOW_KEYS)
  if raw.doc ~= nil and type(raw.doc) ~= "string" then
    problems:add(nil, "the flow has doc = %s: write a string", shown(raw.doc))
  end
  if raw.steps == nil and not has_unknown then
    problems:add(nil, "the flow has no steps; return { steps = { start = function(self) … end, … } }")
  end
  return raw.steps ~= nil
end

--- Checks all of `raw` but what only the graph can tell.
--- @param path string  how messages call the file
--- @param with table?  what flow.with gave: attributes for every step
--- @return table normal, table problems, table functions
---   problems: a list of { where=, sentence= }; functions: { steps = { [name] = function },
---   defaults = { [parameter] = function } }. Without steps, normal has none: there is no graph
function flow.normalise(raw, path, default_name, with)
  local problems = setmetatable({}, Problems)
  local normal = { name = read_name(raw, default_name, problems), file = path }
  local functions = { steps = {}, defaults = {} }
  local param_names
  normal.doc = type(raw.doc) == "string" and raw.doc or nil
  normal.params, functions.defaults, param_names = read_params(raw.params, problems)
  if read_top(raw, problems) then
    normal.steps, functions.steps = read_steps(raw.steps, problems, { param_names = param_names, with = with or {} })
  end
  return normal, problems, functions
end

return flow
