-- The Lua face of luaflow.h, on real stores and flows.

local core = require "luaflow.core"

local directory, opened

local function run_command(command) assert(os.execute(command) == 0, command) end

local function flow_of(source)
  local path = directory .. "/flow.lua"
  local file = assert(io.open(path, "w"))
  file:write(source)
  file:close()
  return assert(core.load(path))
end

local function open(name)
  local rt = assert(core.open { store = directory .. "/" .. (name or "store"), create = true })
  opened[#opened + 1] = rt
  return rt
end

local QUICK = [[return { name = "Quick", steps = {
  start = { next = "finish", function(self) print("hello") end },
  finish = function() end } }]]
local SLOW = [[return { name = "Slow", steps = {
  start = { next = "finish", function() os.execute("sleep 0.3") end },
  finish = function() end } }]]
local FAILING = [[return { name = "Failing", steps = {
  start = { next = "finish", function() error("no luck") end },
  finish = function() end } }]]

local function fields(event)
  local names = {}
  for name in pairs(event) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, " ")
end

-- What an event of each kind has, of a run that is waited for.
local function shapes_of(source)
  local shapes = {}
  local run = assert(open():start(flow_of(source), {
    on_event = function(event) shapes[event.event] = fields(event) end,
  }))
  assert.is_true(run:wait(20))
  return shapes
end

describe("luaflow.core", function()
  before_each(function()
    directory, opened = os.tmpname(), {}
    os.remove(directory)
    run_command("mkdir " .. directory)
  end)

  after_each(function()
    for _, rt in ipairs(opened) do rt:close() end
    run_command("rm -r " .. directory)
  end)

  describe("an event", function()
    it("has what belongs to its kind, and nothing else", function()
      assert.are.same({
        run_started = "event run time",
        task_started = "attempt event path run step task time worker",
        line = "attempt event path run step stream task text time worker",
        task_finished = "attempt event path run step task time worker",
        run_finished = "counts event run status time",
      }, shapes_of(QUICK))
    end)

    it("of a failure has its message and traceback too", function()
      assert.are.equal("attempt event message path run step task time traceback worker",
        shapes_of(FAILING).task_failed)
    end)
  end)

  describe("a callback", function()
    it("that fails ends what delivers, and no event is lost by it", function()
      local rt, heard = open(), 0
      local run = assert(rt:start(flow_of(QUICK), {
        on_event = function(event)
          heard = heard + 1
          error("cannot show " .. event.event, 0)
        end,
      }))
      assert.has_error(function() run:wait(20) end, "cannot show run_started")
      assert.are.equal(1, heard)
      assert.are.equal("running", run:status())
      while heard < 6 do pcall(rt.poll, rt, 1) end
      assert.has_error(function() run:wait() end, "cannot show run_finished")
      assert.are.equal(7, heard)
      assert.is_true(run:wait(20))
      assert.are.equal("done", run:status())
    end)

    it("may not deliver, wait or close", function()
      local rt, run = open(), nil
      local refusals = {}
      local function try(call) refusals[#refusals + 1] = select(2, pcall(call)):match("%d: (.*)") end
      run = assert(rt:start(flow_of(QUICK), {
        on_event = function(event)
          if event.event ~= "run_started" then return end
          try(function() rt:poll() end)
          try(function() run:wait() end)
          try(function() run:close() end)
          try(function() rt:close() end)
        end,
      }))
      assert.is_true(run:wait(20))
      assert.are.same({
        "poll cannot be called from on_event",
        "wait cannot be called from on_event",
        "close cannot be called from on_event",
        "close cannot be called from on_event",
      }, refusals)
    end)

    it("may start another run, read the store and let go of its own run", function()
      local rt, flow, ended = open(), flow_of(QUICK), 0
      local function on_event(event)
        collectgarbage()
        if event.event == "run_finished" then ended = ended + 1 end
        if event.event == "run_finished" and ended < 3 then
          assert.are.equal("done", rt:run(event.run).status)
          assert(rt:start(flow, { on_event = on_event }))
        end
      end
      assert(rt:start(flow, { on_event = on_event }))
      collectgarbage()
      local give_up = os.time() + 20
      while ended < 3 and os.time() < give_up do rt:poll(0.01) end
      assert.are.equal(3, ended)
    end)
  end)

  describe("a run", function()
    it("that is closed waits, and the events of others are told meanwhile", function()
      local rt, told = open(), {}
      local slow = assert(rt:start(flow_of(SLOW)))
      assert(rt:start(flow_of(QUICK), {
        on_event = function(event) told[#told + 1] = event.event end,
      }))
      while slow:status() == "running" and #told == 0 do rt:poll(0.01) end
      slow:close()
      local give_up = os.time() + 20
      while told[#told] ~= "run_finished" and os.time() < give_up do rt:poll(0.01) end
      assert.are.equal("run_started", told[1])
      assert.are.equal(7, #told)
    end)

    it("can be closed twice, after its runtime too, and then says so", function()
      local rt = open()
      local run = assert(rt:start(flow_of(QUICK)))
      local other = assert(rt:start(flow_of(QUICK)))
      run:close()
      run:close()
      rt:close()
      other:close()
      assert.has_error(function() run:id() end, "calling 'id' on bad self (this run is closed)")
      assert.has_error(function() other:wait() end, "calling 'wait' on bad self (this run is closed)")
      assert.has_error(function() rt:fd() end, "calling 'fd' on bad self (this store is closed)")
    end)

    it("that nobody holds runs to its end, and its events are told", function()
      local rt, status = open(), nil
      assert(rt:start(flow_of(QUICK), { on_event = function(event) status = event.status end }))
      collectgarbage()
      collectgarbage()
      local give_up = os.time() + 20
      while status == nil and os.time() < give_up do rt:poll(0.01) end
      assert.are.equal("done", status)
    end)

    it("is waited for without end with math.huge", function()
      assert.is_true(assert(open():start(flow_of(SLOW))):wait(math.huge))
    end)

    it("has the seed it was given, as a number or as digits", function()
      local rt, flow = open(), flow_of(QUICK)
      for seed, stored in pairs {
        [0] = "0",
        [1700000000000001] = "1700000000000001",
        ["18446744073709551615"] = "18446744073709551615",
      } do
        local run = assert(rt:start(flow, { seed = seed }))
        assert.is_true(run:wait(20))
        assert.are.equal(stored, rt:run(run:id()).seed)
      end
    end)

    it("is refused with options that say nothing", function()
      local rt, flow = open(), flow_of(QUICK)
      local function refusal(options) return select(2, pcall(rt.start, rt, flow, options)) end
      assert.are.equal("option 'max_workers' must be a whole number from 0 to 4294967295",
        refusal { max_workers = 1.5 })
      assert.are.equal("option 'on_event' must be a function", refusal { on_event = "print" })
      assert.are.equal("option 'tags' must be a list of strings", refusal { tags = "nightly" })
      assert.are.equal("parameters must be a table: { name = value }", refusal { values = 3 })
      for _, seed in ipairs { -1, 0.5, 0 / 0, "", "12a", "-1", "18446744073709551616", true } do
        assert.truthy(refusal { seed = seed }:find("option 'seed' must be a whole number", 1, true))
      end
      assert.are.same({}, rt:runs(nil, nil, nil, 10))
    end)
  end)

  describe("who listens", function()
    it("may come later, and may be another", function()
      local first, second = {}, {}
      local run = assert(open():start(flow_of(QUICK)))
      run:listen(function(event)
        first[#first + 1] = event.event
        run:listen(function(later) second[#second + 1] = later.event end)
      end)
      assert.is_true(run:wait(20))
      assert.are.same({ "run_started" }, first)
      assert.are.equal("run_finished", second[6])
      assert.has_error(function() run:listen("print") end)
    end)

    it("hears nothing of a run that was said to be unheard, which ends all the same", function()
      local rt, told = open(), 0
      local run = assert(rt:start(flow_of(QUICK), { unheard = true, on_event = function() told = told + 1 end }))
      assert.is_true(run:wait(20))
      assert.are.equal("done", run:status())
      assert.are.equal(0, told)
    end)

    it("is told how much was lost", function() assert.are.equal(0, open():events_lost()) end)

    it("can be asked for from within a callback", function()
      local rt, answers = open(), {}
      local run = assert(rt:start(flow_of(QUICK), {
        on_event = function(event) answers[event.event] = rt:is_delivering() end,
      }))
      assert.is_true(run:wait(20))
      assert.is_true(answers.run_finished)
      assert.is_false(rt:is_delivering())
    end)
  end)

  describe("a resumed run", function()
    local BROKEN = [[return { name = "Mended", steps = {
      start = { next = "each", foreach = "list", function(self) print "started"; self.list = { 4, 5 } end },
      each = { next = "join", retry = 1, function(self) if self.index == 2 then error("broken") end end },
      join = { next = "finish", catch = "why", function(self, inputs) error "never" end },
      finish = function() end } }]]
    local WHOLE = BROKEN:gsub('error%("broken"%)', "self.x = 1")

    -- Runs or resumes to the end; returns the run's number.
    local function ends(status, run)
      assert.is_true(assert(run):wait(20))
      assert.are.equal(status, run:status())
      return run:id()
    end

    it("takes over what succeeded, and says why", function()
      local rt, told = open(), {}
      local origin = ends("failed", rt:start(flow_of(BROKEN), { keep_going = true, max_workers = 1 }))
      local run = ends("done", rt:resume(flow_of(WHOLE), {
        origin = origin,
        tags = { "mended" },
        on_event = function(event)
          assert.are.equal(event.event == "task_reused" or event.event == "task_started", event.reason ~= nil)
          if event.reason then told[event.path] = event.event .. ": " .. event.reason end
        end,
      }))
      assert.are.same({
        start = "task_reused: it succeeded in run 1, as task 1",
        ["each[1]"] = "task_reused: it succeeded in run 1, as task 2",
        ["each[2]"] = "task_started: it failed in run 1",
        join = "task_started: it did not finish in run 1",
        finish = "task_started: it did not finish in run 1",
      }, told)
      local info = rt:run(run)
      assert.are.same({ "mended" }, info.tags)
      assert.are.equal(origin, info.origin_run_id)
      assert.is_nil(rt:run(origin).origin_run_id)
      assert.are.equal(rt:run(origin).seed, info.seed)
      assert.are.equal(2, info.tasks.reused)
      assert.are.equal(5, info.tasks.done)
    end)

    it("has events of reused tasks with what belongs to them", function()
      local rt, shape = open(), nil
      ends("done", rt:start(flow_of(QUICK)))
      ends("done", rt:resume(flow_of(QUICK), {
        on_event = function(event) if event.event == "task_reused" then shape = fields(event) end end,
      }))
      assert.are.equal("attempt event path reason run step task time", shape)
    end)

    it("has tasks that tell where they ran, their attempts and whether a failure was caught", function()
      local rt = open()
      local origin = ends("failed", rt:start(flow_of(BROKEN), { keep_going = true, max_workers = 1 }))
      local run = ends("done", rt:resume(flow_of(WHOLE), { max_workers = 1 }))
      local again = ends("done", rt:resume(flow_of(WHOLE)))

      local failed = rt:task(origin, 3)
      assert.is_true(failed.failed)
      assert.is_false(failed.caught)
      assert.are.equal(1, failed.attempt)
      assert.are.equal(1, #failed.attempts)
      assert.truthy(failed.attempts[1].message:find("broken", 1, true))
      assert.truthy(failed.attempts[1].traceback:find("flow.lua:3:", 1, true))
      assert.is_true(failed.attempts[1].finished_at >= failed.attempts[1].started_at)
      assert.are.equal(1, failed.attempts[1].worker)
      assert.is_nil(failed.origin_run)

      local reused, ran = rt:task(run, 2), rt:task(origin, 2)
      assert.are.same({ origin, 2 }, { reused.origin_run, reused.origin_task })
      assert.are.same({ ran.started_at, ran.finished_at, ran.path, { 1 } },
        { reused.started_at, reused.finished_at, reused.path, reused.parents })
      assert.are.same({}, reused.attempts)
      assert.is_nil(rt:task(run, 3).origin_run)

      for _, number in ipairs { run, again } do
        local join = rt:task(number, 4)
        assert.is_true(join.caught)
        assert.is_false(join.failed)
        assert.are.same({ 2, 3 }, join.parents)
      end
      assert.are.equal(run, rt:task(again, 4).origin_run, "where it truly ran")
      assert.are.equal(origin, rt:task(again, 2).origin_run, "where it truly ran")
      assert.are.same(rt:log(origin, 1), rt:log(again, 1))
      assert.are.same({ 1 }, (rt:logs(again, 0, 10)))
    end)

    it("runs a step that is named, and all after it, again", function()
      local rt, ran = open(), {}
      ends("done", rt:start(flow_of(WHOLE)))
      ends("done", rt:resume(flow_of(WHOLE), {
        step = "join",
        on_event = function(event) if event.event == "task_started" then ran[event.path] = event.reason end end,
      }))
      assert.are.same({ join = "its step is to run again", finish = "a task before it runs again" }, ran)
    end)

    it("is not made where it cannot be", function()
      local rt, flow = open(), flow_of(QUICK)
      local function refused(code, words, options)
        local run, message, kind = rt:resume(flow, options)
        assert.is_nil(run)
        assert.truthy(message:find(words, 1, true), message)
        assert.are.equal(code, kind)
      end
      refused("notfound", "flow Quick has no run in")
      ends("done", rt:start(flow))
      refused("notfound", "there is no run 7", { origin = 7 })
      refused("usage", "the flow has no step 'strat'", { step = "strat" })
      local slow = assert(rt:start(flow_of(SLOW)))
      refused("usage", "run 2 is one of flow Slow, and this is flow Quick", { origin = 2 })
      flow = flow_of(SLOW)
      refused("usage", "run 2 is still running")
      assert.is_true(slow:wait(20))
      assert.has_error(function() rt:resume(flow, { origin = "last" }) end)
      assert.has_error(function() rt:resume(flow, { origin = -1 }) end)
      assert.are.same({ 2, 1 }, rt:runs(nil, nil, nil, 10))
    end)
  end)

  describe("a store", function()
    it("has a descriptor to wait on", function()
      local rt = open()
      local fd = rt:fd()
      assert.are.equal("number", type(fd))
      assert.are.equal(0, rt:poll(0))
      assert(rt:start(flow_of(QUICK)))
      assert.are.equal(fd, rt:fd())
    end)

    it("tells what the library warns of, once", function()
      local rt = open()
      assert.is_nil(rt:warning())
      assert(rt:start(flow_of [[return { steps = { start = function() for i = 1, 70000 do print(i) end end } }]]))
      while rt:run(1).status == "running" do os.execute("sleep 0.01") end
      assert.truthy(rt:warning():find("events of run 1 are dropped", 1, true))
      assert.is_nil(rt:warning())
    end)

    it("needs a name, and says when it is not there", function()
      assert.has_error(function() core.open {} end, "option 'store' must name the store's directory")
      local rt, message, code = core.open { store = directory .. "/none" }
      assert.is_nil(rt)
      assert.truthy(message:find("none", 1, true))
      assert.are.equal("notfound", code)
    end)

    it("is where it is, whatever that is called, until it is removed", function()
      local rt, other = open(), open("other")
      assert.are.equal(core.place(directory .. "/store"), rt:place())
      assert.are.equal(core.place(directory .. "/./store/"), rt:place())
      assert.are_not.equal(other:place(), rt:place())
      assert.is_nil(core.place(directory .. "/none"))
      run_command("rm -r " .. directory .. "/other && mkdir " .. directory .. "/other")
      assert.is_nil(other:place())
      assert.are_not.equal(core.place(directory .. "/other"), rt:place())
    end)

    it("takes whole numbers for runs and tasks", function()
      local rt = open()
      assert.are.equal("notfound", select(3, rt:run(7)))
      for _, number in ipairs { -1, 1.5, 0 / 0, 1 / 0 } do
        assert.has_error(function() rt:run(number) end,
          "bad argument #1 to 'run' (not a number of a run or task)")
      end
    end)
  end)

  it("may be opened under its other name while a run is followed", function()
    local rt, told = open(), 0
    local run = assert(rt:start(flow_of(QUICK), { on_event = function() told = told + 1 end }))
    local path = assert(package.searchpath("luaflow", package.cpath))
    local again = assert(package.loadlib(path, "luaopen_luaflow_core"))()
    assert.are.equal(core, again)
    assert.is_true(run:wait(20))
    assert.are.equal(7, told)
  end)

  it("knows where the process is, and what is a directory", function()
    assert.are.equal("/", core.cwd():sub(1, 1))
    assert.is_true(core.is_directory(directory))
    assert.is_false(core.is_directory(directory .. "/none"))
    assert.is_false(core.is_directory(assert(package.searchpath("luaflow", package.cpath))))
  end)

  it("ends all runs of a store at once when the state closes", function()
    local script, path = directory .. "/leave.lua", directory .. "/flow.lua"
    flow_of [[return { steps = {
      start = { next = "each", foreach = "n", function(self) self.n = 10000 end },
      each = { next = "finish", function() os.execute("sleep 0.01") end },
      finish = function(self, inputs) end } }]]
    local file = assert(io.open(script, "w"))
    file:write(([[
      local core = require "luaflow.core"
      local rt = assert(core.open { store = %q, create = true })
      local flow = assert(core.load(%q))
      local runs = {}
      for i = 1, 4 do runs[i] = assert(rt:start(flow)) end
    ]]):format(directory .. "/store", path))
    file:close()
    assert.are.equal(0, os.execute("luajit " .. script))
    local rt = open()
    for id = 1, 4 do
      assert.are.equal("interrupted", rt:run(id).status)
    end
  end)

  it("survives a state that closes inside a callback", function()
    local script, path = directory .. "/leave.lua", directory .. "/flow.lua"
    flow_of(SLOW)
    local file = assert(io.open(script, "w"))
    file:write(([[
      local core = require "luaflow.core"
      local rt = assert(core.open { store = %q, create = true })
      local flow = assert(core.load(%q))
      rt:start(flow)
      rt:start(flow, { on_event = function() os.exit(7, true) end }):wait()
    ]]):format(directory .. "/store", path))
    file:close()
    local status = os.execute("luajit " .. script)
    assert.are.equal(7, status > 255 and status / 256 or status)
  end)
end)
