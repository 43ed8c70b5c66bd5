-- Reading results: flows, runs, steps, tasks and artifacts of a real store.

local ffi = require "ffi"
local hosted = require "hosted"
local luaflow = require "luaflow"

local TITLES = [[return { name = "ForeachFlow", params = { suffix = { default = "seen" } }, steps = {
  start = { next = "a", foreach = "titles", function(self)
    io.stderr:write("to start\n")
    self.titles = { "Stranger Things", "House of Cards", "Narcos" }
  end },
  a = { next = "join", retry = 1, function(self)
    print(self.input)
    if self.input == "Narcos" and require("luaflow").current.retry_count == 0 then error "not yet" end
    self.title = self.input .. " " .. self.suffix
  end },
  join = { next = "finish", function(self, inputs) self.results = inputs:collect("title") end },
  finish = function(self) self.is_last, self.bytes = false, "\0\255" end } }]]

local FAILING = [[return { name = "Failing", steps = {
  start = { next = { "a", "b" }, function(self) self.kept = 1 end },
  a = { next = "join", function(self) self.x = 2 end },
  b = { next = "join", function(self) print "before" error "no luck" end },
  join = { next = "finish", function(self, inputs) end },
  finish = function(self) end } }]]

local function strings(list)
  local texts = {}
  for i, item in ipairs(list) do texts[i] = tostring(item) end
  return texts
end

-- That what was asked for is not there, for this reason.
local function missing(words, found, message, code)
  assert.is_nil(found)
  assert.truthy(message:find(words, 1, true), message)
  return code
end

describe("the client", function()
  lazy_setup(function()
    hosted.enter()
    luaflow.run(hosted.flow(TITLES), { tags = { "nightly" } }) -- 1
    luaflow.run(hosted.flow(TITLES)) -- 2
    luaflow.run(hosted.flow(FAILING), { tags = { "nightly" }, keep_going = true, max_workers = 1 }) -- 3
  end)
  lazy_teardown(hosted.leave)

  describe("a flow", function()
    it("has runs, newest first, and those with a tag", function()
      local flow = luaflow.Flow "ForeachFlow"
      assert.equal("<flow ForeachFlow>", tostring(flow))
      assert.same({ "ForeachFlow", "ForeachFlow", "ForeachFlow" }, { flow.id, flow.name, flow.pathspec })
      local ids = {}
      for run in flow:runs() do ids[#ids + 1] = run.id end
      assert.same({ 2, 1 }, ids)
      for run in luaflow.Flow("ForeachFlow"):runs("nightly") do ids[#ids + 1] = run.id end
      assert.same({ 2, 1, 1 }, ids)
      for _ in flow:runs "weekly" do error "there is none" end
      assert.equal('a tag is a string: flow:runs("nightly")', hosted.refusal(function() flow:runs { "nightly" } end))
    end)

    it("has a latest run, and a latest successful one", function()
      assert.equal("<run ForeachFlow/2 done>", tostring(luaflow.Flow("ForeachFlow").latest_run))
      assert.equal(3, #luaflow.Flow("ForeachFlow").latest_successful_run.data.results)
      assert.equal(3, luaflow.Flow("Failing").latest_run.id)
      assert.is_nil(luaflow.Flow("Failing").latest_successful_run)
    end)

    it("gives one of its runs", function()
      assert.equal(1, luaflow.Flow("ForeachFlow"):run(1).id)
      missing("run 3 is of flow Failing", luaflow.Flow("ForeachFlow"):run(3))
    end)

    it("has the times of its first and its latest run", function()
      local flow = luaflow.Flow "ForeachFlow"
      assert.equal(luaflow.Run(1).created_at, flow.created_at)
      assert.equal(luaflow.Run(2).finished_at, flow.finished_at)
    end)

    it("that never ran is not there", function()
      assert.equal("notfound", missing("there is no run of flow None in ", luaflow.Flow "None"))
    end)
  end)

  describe("a run", function()
    it("is found by its number, its path, and as the last one", function()
      for _, name in ipairs { 3, "3", "Failing/3", "Failing/last", "last" } do
        assert.equal("<run Failing/3 failed>", tostring(luaflow.Run(name)))
      end
      missing("run 9 is not in this store", luaflow.Run(9))
      missing("run 3 is of flow Failing", luaflow.Run "ForeachFlow/3")
      missing("names more than a run", luaflow.Run "ForeachFlow/1/a")
      missing("is not a PATHSPEC", luaflow.Run "ForeachFlow/first")
      missing("is not a PATHSPEC", luaflow.Run(1.5))
      assert.equal('luaflow.Run needs a name such as "ForeachFlow/3", not a nil',
        hosted.refusal(function() luaflow.Run() end))
    end)

    it("knows what became of it", function()
      local run = luaflow.Run(1)
      assert.same({ 1, "ForeachFlow/1", "ForeachFlow", "done", true, true },
        { run.id, run.pathspec, run.flow_name, run.status, run.finished, run.successful })
      assert.is_true(run.created_at > 1.7e9 and run.finished_at >= run.created_at)
      assert.same({ "nightly" }, run.tags)
      assert.is_nil(run.origin_run_id)
      assert.is_nil(run.exception)
      assert.equal(TITLES, run.code)
      assert.same({ suffix = "seen" }, run.params)
      assert.same({ started = 6, done = 6, failed = 0, reused = 0 }, run.counts)
      assert.equal(luaflow.Flow "ForeachFlow", run.flow)
    end)

    it("that failed has the first failure", function()
      local run = luaflow.Run(3)
      assert.same({ "failed", true, false }, { run.status, run.finished, run.successful })
      assert.truthy(run.exception.message:find("flow.lua:4: no luck", 1, true))
      assert.truthy(run.exception.traceback:find("flow.lua:4:", 1, true))
      assert.is_nil(run.end_task)
      assert.equal(2, run.data.x, "of the last task that succeeded")
    end)

    it("has the artifacts of its last task as fields", function()
      local run = luaflow.Run(2)
      assert.equal("House of Cards seen", run.data.results[2])
      assert.is_false(run.data.is_last)
      assert.equal("\0\255", run.data.bytes)
      assert.equal("seen", run.data.suffix, "a parameter, as in a step")
      assert.is_nil(run.data.nothing)
      assert.is_nil(run.data[1])
      assert.equal("<data of ForeachFlow/2/finish/6: bytes, is_last, results>", tostring(run.data))
      assert.equal(run:task(6), run.end_task)
      assert.equal("results cannot be changed", hosted.refusal(function() run.data.x = 1 end))
    end)

    it("has what all its tasks printed", function()
      assert.equal("Stranger Things\nHouse of Cards\nNarcos\nNarcos\n", luaflow.Run(1).stdout)
      assert.equal("to start\n", luaflow.Run(1).stderr)
    end)

    it("has its steps, in the graph's order", function()
      local run = luaflow.Run(1)
      assert.same({ "<step ForeachFlow/1/start>", "<step ForeachFlow/1/a>", "<step ForeachFlow/1/join>",
        "<step ForeachFlow/1/finish>" }, strings(run:steps()))
      assert.equal(run:steps()[2], run:step "a")
      assert.equal("notfound", missing("run 1 has no step 'b'; its steps are start, a", run:step "b"))
    end)

    it("has its tasks, in their order", function()
      local run = luaflow.Run(1)
      assert.equal(6, #run:tasks())
      assert.equal("<task ForeachFlow/1/a/3 done>", tostring(run:tasks()[3]))
      assert.equal("<task ForeachFlow/1/a/3 done>", tostring(run:task(3)))
      missing("task 7", run:task(7))
      assert.equal("a task is named by its number: run:task(2)", hosted.refusal(function() run:task("a") end))
    end)

    it("can be given tags", function()
      local run = luaflow.Run(2)
      assert.is_true(run:add_tag("b", "a"))
      assert.same({ "a", "b" }, luaflow.Run(2).tags)
      assert.is_true(run:remove_tag "b")
      assert.same({ "a" }, run.tags)
      missing("a tag has 1 to 128 bytes", run:add_tag "")
      run:remove_tag "a"
    end)

    it("that was not started here can be asked, and no more", function()
      local run = luaflow.Run(1)
      assert.is_true(run:wait(0))
      assert.equal(0, run:poll(0))
      missing("run 1 was not started here, or has ended: it cannot be cancelled", run:cancel())
      missing("it cannot be listened to", run:on(print))
      missing("it cannot be waited for", run:fd())
    end)

    it("equals another object of the same run, in the same store", function()
      assert.equal(luaflow.Run(1), luaflow.Run "ForeachFlow/1")
      assert.are_not.equal(luaflow.Run(1), luaflow.Run(2))
      local here = luaflow.Run(1)
      luaflow.use(hosted.path "other")
      local there = luaflow.run(hosted.flow(TITLES))
      luaflow.use(hosted.path "store")
      assert.equal(here.pathspec, there.pathspec)
      assert.are_not.equal(here, there)
    end)
  end)

  describe("a step", function()
    it("is found by its path", function()
      assert.equal("<step ForeachFlow/1/a>", tostring(luaflow.Step "ForeachFlow/1/a"))
      assert.equal("<step Failing/3/b>", tostring(luaflow.Step "last/b"))
      missing("names no step", luaflow.Step "last")
      missing("names no step", luaflow.Step "last/a/2")
      missing("has no step 'c'", luaflow.Step "last/c")
    end)

    it("knows its tasks and what became of them", function()
      local step = luaflow.Run(1):step "a"
      assert.same({ "a", "a", "ForeachFlow/1/a", "done", true, true },
        { step.id, step.name, step.pathspec, step.status, step.finished, step.successful })
      assert.same({ started = 3, done = 3, failed = 0, reused = 0 }, step.counts)
      assert.equal("House of Cards seen", luaflow.Run("ForeachFlow/1"):step("a"):tasks()[2].data.title)
      assert.equal(step:tasks()[1], step.task)
      assert.equal("Stranger Things\nHouse of Cards\nNarcos\nNarcos\n", step.stdout)
      assert.equal("", step.stderr)
      assert.equal(luaflow.Run(1), step.run)
      assert.same({ "nightly" }, step.tags)
      assert.equal(TITLES, step.code)
      assert.is_true(step.created_at >= luaflow.Run(1).created_at)
      assert.is_true(step.finished_at >= step.created_at)
    end)

    it("has data where it has one task", function()
      assert.equal("seen", luaflow.Step("ForeachFlow/1/join").data.suffix)
      assert.equal(3, #luaflow.Step("ForeachFlow/1/join").data.results)
      assert.equal("step ForeachFlow/1/a has several tasks; say which, as in step:tasks()[1].data",
        hosted.refusal(function() return luaflow.Step("ForeachFlow/1/a").data.title, nil end))
      assert.is_nil(luaflow.Step("Failing/3/join").data)
    end)

    it("that failed, or was never come to, says so", function()
      local b, join = luaflow.Step "last/b", luaflow.Step "last/join"
      assert.same({ "failed", true, false }, { b.status, b.finished, b.successful })
      assert.truthy(b.exception.message:find("no luck", 1, true))
      assert.same({ "interrupted", true, false }, { join.status, join.finished, join.successful })
      assert.same({}, join:tasks())
      assert.is_nil(join.task)
      assert.is_nil(join.created_at)
      assert.is_nil(join.finished_at)
      assert.is_nil(join.exception)
    end)
  end)

  describe("a task", function()
    it("is found by its path", function()
      assert.equal("<task ForeachFlow/1/a/2 done>", tostring(luaflow.Task "ForeachFlow/1/a/2"))
      assert.equal("<task Failing/3/b/3 failed>", tostring(luaflow.Task "last/b/3"))
      missing("names no task", luaflow.Task "last/a")
      missing("run 3 has no task 9 of step a", luaflow.Task "last/a/9")
      missing("run 3 has no task 3 of step a", luaflow.Task "last/a/3")
    end)

    it("knows where it stood and what became of it", function()
      local task = luaflow.Task "ForeachFlow/1/a/4"
      assert.same({ 4, "ForeachFlow/1/a/4", "a[3]", 3, "a", "done", true, true },
        { task.id, task.pathspec, task.path, task.index, task.step_name, task.status, task.finished, task.successful })
      assert.same({ luaflow.Step "ForeachFlow/1/a", luaflow.Run(1) }, { task.step, task.run })
      assert.is_true(task.finished_at >= task.created_at)
      assert.is_nil(task.exception)
      assert.is_nil(task.origin_run_id)
      assert.same({ "nightly" }, task.tags)
      assert.equal(TITLES, task.code)
      assert.is_nil(luaflow.Task("ForeachFlow/1/start/1").index)
    end)

    it("has its failed attempts, and what they printed", function()
      local task = luaflow.Task "ForeachFlow/1/a/4"
      assert.equal(1, task.attempt)
      assert.truthy(task:attempts()[1].message:find("not yet", 1, true))
      assert.equal("Narcos\nNarcos\n", task.stdout)
      assert.equal("", task.stderr)
    end)

    it("has its artifacts, its own and those passed on", function()
      local task = luaflow.Task "ForeachFlow/1/a/2"
      assert.same({ "<artifact ForeachFlow/1/a/2/title>", "<artifact ForeachFlow/1/a/2/titles>" },
        strings(task:artifacts()))
      local title, titles = unpack(task:artifacts())
      assert.same({ "title", "title", false, "Stranger Things seen" },
        { title.id, title.name, title.inherited, title.data })
      assert.is_true(titles.inherited)
      assert.equal(title, task:artifact "title")
      missing("ForeachFlow/1/a/2 has no artifact 'tilte'; it has title, titles", task:artifact "tilte")
    end)

    it("that failed has a failure and no artifacts", function()
      local task = luaflow.Task "last/b/3"
      assert.truthy(task.exception.message:find("no luck", 1, true))
      assert.equal("before\n", task.stdout)
      assert.same({}, task:artifacts())
      assert.is_nil(task.data.kept)
      assert.equal("<data of Failing/3/b/3: none>", tostring(task.data))
    end)

    it("has the tasks before it", function()
      assert.same({}, luaflow.Task("ForeachFlow/1/start/1"):parent_tasks())
      assert.same({ "<task ForeachFlow/1/a/2 done>", "<task ForeachFlow/1/a/3 done>", "<task ForeachFlow/1/a/4 done>" },
        strings(luaflow.Task("ForeachFlow/1/join/5"):parent_tasks()))
    end)
  end)

  describe("an artifact", function()
    it("is found by its path", function()
      local artifact = luaflow.Artifact "ForeachFlow/1/a/3/title"
      assert.equal("<artifact ForeachFlow/1/a/3/title>", tostring(artifact))
      assert.equal("House of Cards seen", artifact.data)
      assert.equal(20, artifact.size)
      assert.equal(luaflow.Task "ForeachFlow/1/a/3", artifact.task)
      assert.equal(artifact.task.finished_at, artifact.finished_at)
      assert.equal("Narcos seen", luaflow.Artifact("ForeachFlow/1/results").data[3])
      missing("has no artifact 'nothing'", luaflow.Artifact "ForeachFlow/1/nothing")
      missing("has 3 tasks", luaflow.Artifact "ForeachFlow/1/a/title")
    end)

    it("is loaded once while it is in use, each time it is asked for otherwise", function()
      local run = luaflow.Run(1)
      local data = run.data
      assert.equal(data, run.data)
      assert.is_true(rawequal(data.results, run.data.results))
    end)

    it("comes back exactly", function()
      local run = luaflow.run(hosted.flow [[return { steps = { start = function(self)
        self.numbers = require("ffi").new("double[?]", 3, { 1, -0.0, 2.5 })
        self.big = 2LL ^ 60
        self.mixed = { [1] = "a", x = { true }, [3] = 0/0 }
      end } }]])
      assert.equal(2.5, run.data.numbers[2])
      assert.equal(24, ffi.sizeof(run.data.numbers))
      assert.equal(2LL ^ 60, run.data.big)
      assert.are_not.equal(run.data.mixed[3], run.data.mixed[3])
    end)
  end)

  it("says what its objects have, for whoever completes them", function()
    local about = getmetatable(luaflow.Run(1))
    assert.equal("function", type(about.fields.status))
    assert.equal("function", type(about.methods.tasks))
    assert.same({ "bytes", "is_last", "results" }, getmetatable(luaflow.Run(1).data).names(luaflow.Run(1).data))
  end)

  it("names all tasks of a wide step without reading them", function()
    local run = luaflow.run(hosted.flow [[return { steps = {
      start = { next = "each", foreach = "n", function(self) self.n = 10000 end },
      each = { next = "join", function(self) self.x = self.index end },
      join = { next = "finish", function(self, inputs) end },
      finish = function() end } }]])
    local sum, tasks = 0, run:step("each"):tasks()
    for _, task in ipairs(tasks) do sum = sum + task.data.x end
    assert.equal(10000, #tasks)
    assert.equal(10000 * 10001 / 2, sum)
    assert.equal("start", run:tasks()[1].step_name)
    assert.equal(10003, run.end_task.id)
  end)

  it("raises what a damaged store says where nothing else can tell it", function()
    luaflow.use(hosted.path "damaged")
    local run = luaflow.run(hosted.flow [[return { steps = { start = function(self) self.x = ("x"):rep(1e5) end } }]])
    local file = assert(io.open(hosted.path "damaged/data.mdb", "r+b"))
    local content = file:read "*a"
    file:seek("set", content:find(("x"):rep(1000), 1, true) + 500)
    file:write "y"
    file:close()
    assert.truthy(hosted.refusal(function() return run.data.x, nil end):find("damaged", 1, true))
    luaflow.use(hosted.path "store")
  end)
end)
