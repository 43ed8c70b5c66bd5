--- Any text names something of a store, or is refused with words and a code.
local pathspec = require "luaflow.pathspec"

local target = {}

local RUNS = {
  { id = 1, flow = "F", steps = { { name = "start" }, { name = "a" } } },
  { id = 2, flow = "G/x", steps = { { name = "start" } } },
  { id = 9007199254740991, flow = "last", steps = {} },
}
local TASKS = { [1] = "start", [2] = "a", [3] = "a", [4] = "finish" }
local CODES = { usage = true, notfound = true }

local rt = {}

function rt:runs(flow)
  for i = #RUNS, 1, -1 do
    if flow == nil or RUNS[i].flow == flow then return { RUNS[i].id } end
  end
  return {}
end

function rt:run(id)
  assert(type(id) == "number" and id >= 0 and id % 1 == 0 and id < 2^53)
  for _, run in ipairs(RUNS) do
    if run.id == id then return run end
  end
  return nil, "there is no such run", "notfound"
end

function rt:task(run, number)
  assert(type(number) == "number" and number % 1 == 0)
  if run == 2 or not TASKS[number] then return nil, "there is no such task", "notfound" end
  return { run = run, task = number, step = TASKS[number], failed = number == 3, artifacts = { { name = "x" } } }
end

function rt:tasks(run, step, _, after)
  local list = {}
  for number, name in ipairs(TASKS) do
    if run ~= 2 and number > after and (step == nil or step == name) then list[#list + 1] = number end
  end
  return list
end

function rt:bytes(_, _, name)
  assert(type(name) == "string")
  if name ~= "x" then return nil, "there is no such artifact", "notfound" end
  return "\1"
end

function rt:logs(run, after) return run == 1 and after < 2 and { 2 } or {}, { 2 } end

local function check(found, message, code)
  if found == nil then
    assert(type(message) == "string" and #message > 0 and CODES[code], tostring(message))
  end
  return found
end

function target.text(text)
  check(pathspec.run(rt, text))
  local place = check(pathspec.find(rt, text))
  if place then
    check(pathspec.tasks(rt, place))
    check(pathspec.one_task(rt, place))
    check(pathspec.printed(rt, place))
  end
  local of, name, code = pathspec.find_artifact(rt, text)
  if check(of, name, code) then check(pathspec.bytes(rt, of, name)) end
end

return target
