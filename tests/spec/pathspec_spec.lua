local pathspec = require "luaflow.pathspec"

-- A store with runs 1 and 3 of F and run 2 of G. Run 3 has the tasks 1 start, 2 a, 3 a
-- (failed), 5 finish; tasks 2 and 4 of it printed, and 4 still runs.
local function store()
  local flows = { "F", "G", "F" }
  local tasks = {
    { step = "start" }, { step = "a" }, { step = "a", failed = true }, nil, { step = "finish" },
  }
  local rt = {}
  function rt:run(id)
    if flows[id] == nil then return nil, "no run", "notfound" end
    return { id = id, flow = flows[id], steps = { { name = "start" }, { name = "a" }, { name = "finish" } } }
  end
  function rt:runs(flow, _, _, max)
    local ids = {}
    for id = 3, 1, -1 do
      if (flow == nil or flows[id] == flow) and #ids < max then ids[#ids + 1] = id end
    end
    return ids
  end
  function rt:tasks(run, step, _, after)
    local numbers = {}
    for _, n in ipairs { 1, 2, 3, 5 } do
      if run == 3 and n > after and (step == nil or tasks[n].step == step) then numbers[#numbers + 1] = n end
    end
    return numbers
  end
  function rt:task(run, n)
    if run ~= 3 or tasks[n] == nil then return nil, "no task", "notfound" end
    return { run = run, task = n, step = tasks[n].step, failed = tasks[n].failed or false, artifacts = {} }
  end
  function rt:logs(_, after)
    if after > 0 then return {}, {} end
    return { 2, 4 }, { 2, 3 }
  end
  return rt
end

local function found(text)
  local place, message, code = pathspec.find(store(), text)
  if place == nil then return message .. " (" .. code .. ")" end
  return ("%s/%d %s %s"):format(place.run.flow, place.run.id, place.step or "-", place.task or "-")
end

describe("a PATHSPEC", function()
  it("is a run by its flow, by its id alone, or the last one", function()
    assert.equal("F/3 - -", found "F/3")
    assert.equal("G/2 - -", found "2")
    assert.equal("F/3 - -", found "last")
    assert.equal("G/2 - -", found "G/last")
  end)

  it("goes on to a step and a task", function()
    assert.equal("F/3 a -", found "F/3/a")
    assert.equal("F/3 a 2", found "F/3/a/2")
    assert.equal("F/3 a 2", found "3/a/2")
    assert.equal("F/3 a -", found "last/a")
  end)

  it("names what is not there", function()
    assert.equal("run 7 is not in this store (notfound)", found "7")
    assert.equal("run 7 is not in this store (notfound)", found "F/7/a")
    assert.equal("F/2 is not in this store: run 2 is of flow G (notfound)", found "F/2")
    assert.equal("run 3 has no step 'b'; its steps are start, a, finish (notfound)", found "F/3/b")
    assert.equal("there is no run of flow H in this store (notfound)", found "H/last")
  end)

  it("says what it looks like when it is none", function()
    for _, text in ipairs { "F", "", "/", "F/x", "F/3/a/2/3", "F/3/a/x" } do
      assert.truthy(found(text):find("is not a PATHSPEC: write Flow/run", 1, true), text)
    end
  end)

  it("asks of an empty store that there is no run yet", function()
    local rt = store()
    function rt:runs() return {} end
    assert.same({ nil, "there is no run in this store yet", "notfound" }, { pathspec.run(rt, "last") })
  end)
end)

describe("the tasks of a place", function()
  local function numbers(text)
    local rt = store()
    return pathspec.tasks(rt, pathspec.find(rt, text))
  end

  it("are those of the run, of the step, or the one", function()
    assert.same({ 1, 2, 3, 5 }, numbers "last")
    assert.same({ 2, 3 }, numbers "last/a")
    assert.same({ 2 }, numbers "last/a/2")
  end)

  it("are not those of another step", function()
    assert.same({ nil, "run 3 has no task 5 of step a", "notfound" }, { numbers "last/a/5" })
  end)

  it("come page by page from a store of any size", function()
    local all = pathspec.all(function(after, max)
      local page = {}
      for n = after + 1, math.min(after + max, 10000) do page[#page + 1] = n end
      return page
    end)
    assert.equal(10000, #all)
    assert.equal(10000, all[10000])
  end)

  it("that printed include the running ones", function()
    local rt = store()
    assert.same({ 2, 4 }, (pathspec.printed(rt, pathspec.find(rt, "3"))))
    assert.same({ 4 }, (pathspec.printed(rt, pathspec.find(rt, "3/finish"))))
    assert.same({}, (pathspec.printed(rt, pathspec.find(rt, "3/start/1"))))
    assert.is_nil((pathspec.printed(rt, pathspec.find(rt, "3/start/9"))))
  end)
end)

describe("the artifact of a place", function()
  local function artifact(text)
    local rt = store()
    local place, name = pathspec.find_artifact(rt, text)
    if place == nil then return name end
    local task, message = pathspec.one_task(rt, place)
    return task and ("%d %s"):format(task.task, name) or message
  end

  it("is the task's, the only task's of a step, or the last task's of a run", function()
    assert.equal("2 x", artifact "F/3/a/2/x")
    assert.equal("1 x", artifact "F/3/start/x")
    assert.equal("5 x", artifact "F/3/x")
    assert.equal("5 x", artifact "last/x")
  end)

  it("may have a name with slashes where the step is named", function()
    assert.equal("2 a/b", artifact "F/3/a/2/a/b")
    assert.equal("1 a/b", artifact "F/3/start/a/b")
  end)

  it("is refused where several tasks could be meant", function()
    assert.equal("step a of run 3 has 2 tasks; say which, as in F/3/a/2", artifact "F/3/a/x")
  end)

  it("needs a name", function()
    assert.equal("'F/3' names no artifact: write PATHSPEC/NAME", artifact "F/3")
  end)
end)
