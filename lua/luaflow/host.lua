--- What `require "luaflow"` has for hosts: starting runs, following them, choosing the store, and
--- reading results (luaflow.client). Host only.
local client = require "luaflow.client"
local core = require "luaflow.core"
local live = require "luaflow.live"
local nearest = require "luaflow.nearest"
local stores = require "luaflow.stores"

local host = {
  version = core.version,
  Flow = client.Flow,
  Run = client.Run,
  Step = client.Step,
  Task = client.Task,
  Artifact = client.Artifact,
}

-- ---- options --------------------------------------------------------------------

-- What each must be. Numbers that core counts with, it checks itself.
local COMMON = {
  max_workers = "number", max_num_splits = "number", progress_after = "number",
  tags = "table", tag = "string", with = "table", store = "string", executable = "string",
  keep_going = "boolean", on_event = "function", run_id_file = "string",
}

local function with_common(options)
  for name, kind in pairs(COMMON) do options[name] = kind end
  return options
end

local OPTIONS = {
  run = with_common { params = "table", seed = "number or string" },
  resume = with_common { origin_run_id = "number", step = "string" },
  start = with_common { params = "table", seed = "number or string", origin_run_id = "number", step = "string",
    wait_for_host = "boolean" },
  check = { with = "table" },
}

-- Whether `start` is to resume.
local function resumes(options) return options.origin_run_id ~= nil or options.step ~= nil end

local function sorted_names(options)
  local names = {}
  for name in pairs(options) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function unknown_option(verb, name)
  return ("luaflow.%s has no option '%s'; the nearest is '%s'"):format(verb, tostring(name),
    nearest.name(tostring(name), sorted_names(OPTIONS[verb])))
end

local function is_list_of_strings(list)
  for key, value in pairs(list) do
    if type(key) ~= "number" or type(value) ~= "string" then return false end
  end
  return true
end

local function has_names(attributes)
  for name, value in pairs(attributes) do
    if type(name) ~= "string" or type(value) == "table" then return false end
  end
  return true
end

-- What is wrong with a call, or nil.
local function complaint(verb, flow, options)
  if type(flow) ~= "string" and type(flow) ~= "table" then
    return ("luaflow.%s needs a flow, as the path of its file or as a table, not a %s"):format(verb, type(flow))
  end
  if type(options) ~= "table" then
    return ("luaflow.%s takes its options in a table, not a %s"):format(verb, type(options))
  end
  for name, value in pairs(options) do
    local kind = OPTIONS[verb][name]
    if (name == "params" or name == "seed") and (verb == "resume" or resumes(options)) then
      return ("a resumed run has the parameters and the seed of its origin: option '%s' cannot be given"):format(name)
    end
    if kind == nil then return unknown_option(verb, name) end
    if not kind:find(type(value), 1, true) then
      return ("option '%s' of luaflow.%s must be a %s, not a %s"):format(name, verb, kind, type(value))
    end
  end
  if options.tags and not is_list_of_strings(options.tags) then
    return "option 'tags' must be a list of strings"
  end
  if options.with and not has_names(options.with) then
    return "option 'with' takes attributes by name, as in { retry = 2 }"
  end
end

-- A number that is read back as it was.
local function text_of(value)
  local text = tostring(value)
  return type(value) == "number" and tonumber(text) ~= value and ("%.17g"):format(value) or text
end

-- { retry = 2 } as core takes it.
local function attributes(with)
  if with == nil then return nil end
  local list = {}
  for name, value in pairs(with) do
    list[#list + 1] = { name = name, value = text_of(value) }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function tags_of(options)
  local tags = { options.tag }
  for _, tag in ipairs(options.tags or {}) do tags[#tags + 1] = tag end
  return tags
end

-- ---- starting -------------------------------------------------------------------

--- @return userdata? flow, string? message, string? code
local function load_flow(flow, with)
  if type(flow) == "table" then return core.ship(flow, nil, with) end
  return core.load(flow, with)
end

-- Whether somebody hears of a run that is waited for.
local function is_heard(options) return options.on_event ~= nil or live.audience ~= nil end

local function core_options(options, waits)
  local audience = waits and live.audience or {}
  return {
    values = options.params, seed = options.seed,
    origin = options.origin_run_id, step = options.step,
    max_workers = options.max_workers, max_num_splits = options.max_num_splits,
    progress_after = options.progress_after or audience.progress_after,
    tags = tags_of(options), keep_going = options.keep_going, run_id_file = options.run_id_file,
    unheard = waits and not is_heard(options),
  }
end

-- Starts what `begin(runtime, flow, options)` starts. Who waits for its end takes events as fast as
-- can be: steps wait for that, and no event is lost; or there is no listener, and never will be one.
--- @return table|false|nil run, string? message, string? code  false: who called has to hear the message
local function begin_run(flow, options, begin, waits)
  local loaded, message, code = load_flow(flow, attributes(options.with))
  if loaded == nil then return nil, message, code end
  local store
  store, message, code = stores.open {
    directory = options.store, create = true, executable = options.executable,
    wait_for_host = options.wait_for_host or waits and is_heard(options),
  }
  if store == nil then return nil, message, code end
  local ok, handle
  ok, handle, message, code = pcall(begin, store.runtime, loaded, core_options(options, waits))
  local name = loaded:describe().name
  loaded:close()
  if not ok then return false, handle end
  if handle == nil then return nil, message, code end
  local started = live.new(store, handle)
  if options.on_event then started:listen(options.on_event) end
  return client.of_live(started, name)
end

local function begin_new(runtime, flow, options) return runtime:start(flow, options) end
local function begin_again(runtime, flow, options) return runtime:resume(flow, options) end

local function wait_for(run, flow)
  if live.audience then return live.audience.attend(run, flow) end
  return run:wait()
end

-- The same, and waits for its end.
local function complete(verb, flow, options, begin)
  options = options or {}
  local wrong = complaint(verb, flow, options)
  if not wrong and stores.is_delivering() then
    wrong = ("luaflow.%s waits, which cannot be done from on_event: use luaflow.start"):format(verb)
  end
  if wrong then error(wrong, 3) end
  local run, message, code = begin_run(flow, options, begin, true)
  if run == false then error(message, 3) end
  if run == nil then return nil, message, code end
  local ok, failure = pcall(wait_for, run, flow)
  if not ok then
    run:cancel() -- whoever waited for it is gone
    error(failure, 0)
  end
  return run
end

-- A run comes alone, for a prompt shows every value that it is given.
local function alone(run, message, code)
  if run then return run end
  return nil, message, code
end

--- Starts a run of `flow`, the path of a flow's file or a table like those that such files
--- return, and returns at once. Events come while somebody polls or waits; when nobody does for
--- long, the oldest printed lines are lost, or, with `wait_for_host`, steps wait. With
--- `origin_run_id` or `step` it resumes.
--- @return table? run, string? message, string? code
function host.start(flow, options)
  options = options or {}
  local wrong = complaint("start", flow, options)
  if wrong then error(wrong, 2) end
  local run, message, code = begin_run(flow, options, resumes(options) and begin_again or begin_new)
  if run == false then error(message, 2) end
  return alone(run, message, code)
end

--- Runs `flow` and returns when that has ended, however it did.
--- @return table? run, string? message, string? code  nil where it could not start
function host.run(flow, options)
  return alone(complete("run", flow, options, begin_new))
end

--- Makes a run that takes over what an earlier one (`origin_run_id`, else the flow's latest) has
--- done, runs the rest (with `step`, that one and all after it again), and returns when that has
--- ended.
--- @return table? run, string? message, string? code  nil where it could not start
function host.resume(flow, options)
  return alone(complete("resume", flow, options, begin_again))
end

--- The checks of a flow, without running it.
--- @return true?, table|string  the flow as data, or every problem, one a line
function host.check(flow, options)
  options = options or {}
  local wrong = complaint("check", flow, options)
  if wrong then error(wrong, 2) end
  local loaded, message, code = load_flow(flow, attributes(options.with))
  if loaded == nil then return nil, message, code end
  local description = loaded:describe()
  loaded:close()
  return true, description
end

-- ---- following ------------------------------------------------------------------

--- Delivers waiting events of all runs in all stores, for at most so many seconds (default: 0.01).
--- @return number delivered, number lost
function host.poll(seconds)
  local stores_open = {}
  for _, store in stores.each() do stores_open[#stores_open + 1] = store end
  local delivered, lost = 0, 0
  for _, store in ipairs(stores_open) do
    local n, dropped = live.poll(store, (seconds or 0.01) / #stores_open)
    delivered, lost = delivered + n, lost + dropped
  end
  return delivered, lost
end

--- The store that runs are started in, and looked for, from here on; nil: the default one.
function host.use(directory)
  if directory ~= nil and type(directory) ~= "string" then
    error(("luaflow.use needs the store's directory, not a %s"):format(type(directory)), 2)
  end
  stores.use(directory)
end

return host
