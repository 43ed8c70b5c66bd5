-- What require "luaflow" does in a host: runs flows, follows them, finds stores.

local hosted = require "hosted"
local luaflow = require "luaflow"

describe("luaflow in a host", function()
  before_each(hosted.enter)
  after_each(hosted.leave)

  describe("run", function()
    it("runs a flow and gives the run when it has ended", function()
      local run = assert(luaflow.run(hosted.flow(hosted.QUICK), { params = { word = "seen" }, max_workers = 2 }))
      assert.equal("done", run.status)
      assert.equal(1, run.id)
      assert.equal("seen", run.data.said)
      assert.equal("<run Quick/1 done>", tostring(run))
    end)

    it("gives the run and nothing beside it", function()
      local path = hosted.flow(hosted.QUICK)
      assert.equal(1, select("#", luaflow.run(path)))
      assert.equal(1, select("#", luaflow.resume(path)))
      assert.equal(1, select("#", luaflow.start(path)))
      assert.equal(3, select("#", luaflow.run "nowhere.lua"))
    end)

    it("leaves the waiting to who shows runs", function()
      local live, seen = require "luaflow.live", {}
      live.audience = { attend = function(run, flow)
        seen.flow = flow
        run:on(function(event) seen[#seen + 1] = event.event end)
        run:wait()
      end }
      local path = hosted.flow(hosted.QUICK)
      local ok, run = pcall(luaflow.run, path)
      live.audience = nil
      assert.is_true(ok)
      assert.equal("done", run.status)
      assert.equal(path, seen.flow)
      assert.equal("run_started task_started line", table.concat(seen, " ", 1, 3))
      assert.equal("run_finished", seen[#seen])
    end)

    it("gives a run that failed, too", function()
      local path = hosted.flow [[return { steps = { start = function() error "no luck" end } }]]
      local run = assert(luaflow.run(path))
      assert.equal("failed", run.status)
      assert.truthy(run.exception.message:find("no luck", 1, true))
      assert.truthy(run.exception.traceback:find("flow.lua:1:", 1, true))
    end)

    it("takes typed values and texts for parameters, and refuses others", function()
      local path = hosted.flow [[return {
        params = { n = { default = 1 }, list = { type = "json" }, on = { default = false } },
        steps = { start = function(self) self.sum = self.n + #self.list; self.was_on = self.on end } }]]
      assert.equal(5, luaflow.run(path, { params = { n = 2, list = { 1, 2, 3 } } }).data.sum)
      local run = luaflow.run(path, { params = { n = "40", list = "[7,8]", on = "yes" } })
      assert.equal(42, run.data.sum)
      assert.is_true(run.data.was_on)
      assert.is_true(run.params.on)
      local none, message, code = luaflow.run(path, { params = { n = "many" } })
      assert.is_nil(none)
      assert.truthy(message:find("'n' takes a number, not 'many'", 1, true))
      assert.equal("usage", code)
      assert.truthy(select(2, luaflow.run(path, { params = { m = 1 } })):find("'m'", 1, true))
    end)

    it("runs a table, checked like a file", function()
      local factor = 3
      local flow = { name = "Table", steps = {
        start = { next = "each", foreach = "n", function(self) self.n = { 1, 2 } end },
        each = { next = "finish", function(self) self.x = self.input * factor end },
        finish = function(self, inputs)
          self.all = inputs:collect "x"
          self.number = luaflow.current.run_id
        end,
      } }
      assert.is_true(luaflow.check(flow))
      local run = assert(luaflow.run(flow))
      assert.same({ 3, 6 }, run.data.all)
      assert.equal(1, run.data.number)
      assert.equal("<run Table/1 done>", tostring(run))
      assert.equal(4, luaflow.resume(flow).counts.reused)
      local none, message, code = luaflow.run { name = "Empty", steps = {} }
      assert.is_nil(none)
      assert.truthy(message:find("Empty: the flow has no step 'start'", 1, true))
      assert.equal("flow", code)
    end)

    it("is nil and why where it cannot start", function()
      local run, message, code = luaflow.run(hosted.path "none.lua")
      assert.is_nil(run)
      assert.truthy(message:find("none.lua", 1, true))
      assert.equal("flow", code)
      assert.is_nil(luaflow.run(hosted.flow "return { steps = {} }"))
      assert.is_nil(luaflow.run(hosted.flow(hosted.QUICK), { store = "/dev/null/store" }))
      assert.is_nil(luaflow.Run(1))
    end)

    it("passes options on", function()
      local path = hosted.flow [[return { steps = {
        start = { next = "each", foreach = "n", function(self) self.n = 3 end },
        each = { next = "finish" },
        finish = function(self, inputs) end } }]]
      local run = luaflow.run(path, {
        tags = { "b", "a" }, tag = "c", seed = "12345678901234567890", run_id_file = hosted.path "id",
        max_num_splits = 3,
      })
      assert.equal("done", run.status)
      assert.same({ "a", "b", "c" }, run.tags)
      assert.equal("12345678901234567890", run.seed)
      assert.equal("1\n", io.open(hosted.path "id"):read "*a")
      run = luaflow.run(path, { max_num_splits = 2 })
      assert.truthy(run.exception.message:find("2", 1, true))
    end)

    it("retries where `with` says so", function()
      local marker = hosted.path "once"
      local run = luaflow.run(hosted.flow(([[return { steps = { start = function(self)
          if not io.open(%q) then io.open(%q, "w"):close() error "once" end
        end } }]]):format(marker, marker)), { with = { retry = 1 } })
      assert.equal("done", run.status)
      assert.equal(1, run:task(1).attempt)
      assert.truthy(run:task(1):attempts()[1].message:find("once", 1, true))
    end)

    it("says what is wrong with a call, to who made it", function()
      local path = hosted.flow(hosted.QUICK)
      local function refused(...)
        local arguments, n = { ... }, select("#", ...)
        return hosted.refusal(function()
          luaflow.run(unpack(arguments, 1, n))
          return nil -- no tail call, which has no line to blame
        end)
      end
      assert.equal("luaflow.run has no option 'max_wrokers'; the nearest is 'max_workers'",
        refused(path, { max_wrokers = 4 }))
      assert.equal("luaflow.run has no option '1'; the nearest is 'tag'", refused(path, { "nightly" }))
      assert.equal("option 'params' of luaflow.run must be a table, not a string", refused(path, { params = "x" }))
      assert.equal("option 'seed' of luaflow.run must be a number or string, not a table",
        refused(path, { seed = {} }))
      assert.equal("option 'max_workers' must be a whole number from 0 to 4294967295",
        refused(path, { max_workers = -1 }))
      assert.equal("option 'tags' must be a list of strings", refused(path, { tags = { 1 } }))
      assert.equal("option 'with' takes attributes by name, as in { retry = 2 }",
        refused(path, { with = { "retry=2" } }))
      assert.equal("luaflow.run takes its options in a table, not a number", refused(path, 4))
      assert.equal("luaflow.run needs a flow, as the path of its file or as a table, not a nil", refused(nil))
      assert.is_nil(luaflow.Run "last")
    end)

    it("ends with the error of who listens, and cancels the run", function()
      local ok, message = pcall(luaflow.run, hosted.held(), { on_event = function() error { "mine" } end })
      assert.is_false(ok)
      assert.same({ "mine" }, message)
      hosted.let_go()
      local run = luaflow.Run "last"
      while run.status == "running" do pcall(run.poll, run) end
      assert.equal("interrupted", run.status)
    end)

    it("loses no event, however slowly it listens", function()
      local lines = 0
      local path = hosted.flow [[return { steps = { start = function() for i = 1, 70000 do print(i) end end } }]]
      luaflow.run(path, {
        on_event = function(event) if event.event == "line" then lines = lines + 1 end end,
      })
      assert.equal(70000, lines)
    end)

    it("cannot be called where events are heard, but start can", function()
      local path, refusal, later = hosted.flow(hosted.QUICK), nil, nil
      luaflow.run(path, { on_event = function(event)
        if event.event ~= "run_finished" then return end
        refusal = hosted.refusal(function() luaflow.run(path) return nil end)
        later = assert(luaflow.start(path))
      end })
      assert.equal("luaflow.run waits, which cannot be done from on_event: use luaflow.start", refusal)
      assert.is_true(later:wait(20))
      assert.equal(2, later.id)
    end)
  end)

  describe("start", function()
    it("returns at once; the run goes on by itself", function()
      local run = assert(luaflow.start(hosted.held()))
      assert.equal("running", run.status)
      assert.is_false(run.finished)
      assert.equal("<run Held/1 running>", tostring(run))
      assert.is_false(run:wait(0))
      hosted.let_go()
      while run.status == "running" do os.execute("sleep 0.01") end -- nobody listens, nobody polls
      assert.equal("done", run.status)
      assert.is_true(run.data.held)
    end)

    it("tells its events while it is polled, all of them before the status changes", function()
      local run, heard, steps = assert(luaflow.start(hosted.flow(hosted.QUICK))), {}, {}
      assert.equal(run, run:on(function(event) heard[#heard + 1] = event.event end))
      run:on(function(event) steps[#steps + 1] = event.step end)
      assert.equal("number", type(run:fd()))
      while run.status == "running" do run:poll(0.002) end
      assert.same({ "run_started", "run_finished" }, { heard[1], heard[7] })
      assert.equal(5, #steps)
      local delivered, lost = run:poll()
      assert.same({ 0, 0 }, { delivered, lost })
    end)

    it("tells events as the command's JSON does", function()
      local seen = {}
      luaflow.run(hosted.flow(hosted.QUICK), {
        on_event = function(event) seen[event.event .. (event.step or "")] = event end,
      })
      local line = seen.linestart
      assert.same({ "line", 1, "start", 1, "start", 0, "stdout", "hello" },
        { line.event, line.run, line.step, line.task, line.path, line.attempt, line.stream, line.text })
      assert.equal("number", type(line.time))
      assert.equal("done", seen.run_finished.status)
    end)

    it("has listeners that all hear, whatever becomes of one", function()
      local run, heard = assert(luaflow.start(hosted.flow(hosted.QUICK))), 0
      run:on(function(event) error("first " .. event.event, 0) end)
      run:on(function(event) error("second " .. event.event, 0) end)
      run:on(function() heard = heard + 1 end)
      local ok, message = pcall(run.wait, run, 20)
      assert.is_false(ok)
      assert.equal("first run_started", message)
      assert.equal(1, heard)
      while run.status == "running" do pcall(run.poll, run) end
      assert.equal(7, heard)
    end)

    it("can be cancelled, which leaves it interrupted", function()
      local run = assert(luaflow.start(hosted.held()))
      assert.is_true(run:cancel())
      hosted.let_go()
      assert.is_true(run:wait())
      assert.equal("interrupted", run.status)
      assert.is_false(run.successful)
      assert.is_nil(run.exception)
    end)

    it("is found again by name while it goes", function()
      luaflow.start(hosted.held())
      collectgarbage()
      collectgarbage()
      local again, status = assert(luaflow.Run "Held/1"), nil
      again:on(function(event) status = event.status end)
      assert.equal("running", again.status)
      hosted.let_go()
      assert.is_true(again:wait(20))
      assert.equal("done", status)
    end)

    it("is heard from a coroutine that is gone", function()
      local last
      coroutine.wrap(function()
        luaflow.start(hosted.flow(hosted.QUICK), { on_event = function(event) last = event.event end })
      end)()
      collectgarbage()
      collectgarbage()
      coroutine.wrap(function() luaflow.poll(0) end)()
      collectgarbage()
      while last ~= "run_finished" do luaflow.poll() end
    end)

    it("has a descriptor that is readable when events wait", function()
      local ffi = require "ffi"
      ffi.cdef [[
        struct luaflow_spec_pollfd { int fd; short events, revents; };
        int poll(struct luaflow_spec_pollfd *list, unsigned long n, int milliseconds);
      ]]
      local run, heard = assert(luaflow.start(hosted.flow(hosted.QUICK))), 0
      run:on(function() heard = heard + 1 end)
      local waiting = ffi.new("struct luaflow_spec_pollfd[1]", { { fd = run:fd(), events = 1 } })
      while run.status == "running" do
        assert.equal(1, ffi.C.poll(waiting, 1, 20000))
        assert.is_true(run:poll(1) > 0)
      end
      assert.equal(7, heard)
      assert.equal(0, ffi.C.poll(waiting, 1, 0))
    end)

    it("runs isolated steps in the executable that is named", function()
      local run = luaflow.run(hosted.flow [[return { steps = { start = { isolate = true, function() end } } }]],
        { executable = hosted.path "nowhere" })
      assert.equal("failed", run.status)
      assert.truthy(run.exception.message:find(hosted.path "nowhere", 1, true))
    end)

    it("refuses a number that is out of range, and what are no seconds", function()
      local path = hosted.flow(hosted.QUICK)
      local function refused(method, ...)
        local arguments, n = { ... }, select("#", ...)
        return hosted.refusal(function()
          method(unpack(arguments, 1, n))
          return nil
        end)
      end
      assert.equal("option 'max_num_splits' must be a whole number from 0 to 4294967295",
        refused(luaflow.start, path, { max_num_splits = 1.5 }))
      local run = assert(luaflow.start(path))
      assert.equal("run:wait takes a number of seconds, not a string", refused(run.wait, run, "soon"))
      assert.equal("run:wait takes a number of seconds, not nan", refused(run.wait, run, 0 / 0))
      assert.equal("run:poll takes a number of seconds, not a table", refused(run.poll, run, {}))
      assert.is_true(run:wait())
    end)

    it("refuses what is no listener", function()
      local run = assert(luaflow.start(hosted.flow(hosted.QUICK)))
      assert.equal("run:on needs a function, not a string", hosted.refusal(function() run:on("print") end))
      assert.is_true(run:wait(20))
    end)
  end)

  describe("resume", function()
    local BROKEN = [[return { name = "Mended", steps = {
      start = { next = "finish", function(self) self.x = 1 end },
      finish = function(self) error "broken" end } }]]

    it("takes over what succeeded and runs the rest", function()
      local first = luaflow.run(hosted.flow(BROKEN))
      assert.equal("failed", first.status)
      local path = hosted.flow((BROKEN:gsub('error "broken"', "self.y = self.x + 1")))
      local run = assert(luaflow.resume(path, { tag = "mended" }))
      assert.equal("done", run.status)
      assert.same({ 1, 2 }, { run.data.x, run.data.y })
      assert.equal(1, run.origin_run_id)
      assert.equal(1, run.counts.reused)
      assert.equal(1, run:task(1).origin_run_id)
      local again = assert(luaflow.resume(path, { origin_run_id = 1, step = "start" }))
      assert.equal(0, again.counts.reused)
      local third = assert(luaflow.start(path, { origin_run_id = 2 }))
      assert.is_true(third:wait(20))
      assert.equal(2, third.counts.reused)
    end)

    it("has neither parameters nor a seed", function()
      local path = hosted.flow(hosted.QUICK)
      local why = "a resumed run has the parameters and the seed of its origin: option 'seed' cannot be given"
      assert.equal(why, hosted.refusal(function() luaflow.resume(path, { seed = 1 }) return nil end))
      assert.equal(why, hosted.refusal(function() luaflow.start(path, { seed = 1, step = "start" }) return nil end))
    end)

    it("is nil and why where there is nothing to resume", function()
      local run, message, code = luaflow.resume(hosted.flow(hosted.QUICK))
      assert.is_nil(run)
      assert.truthy(message:find("Quick", 1, true))
      assert.equal("notfound", code)
    end)
  end)

  describe("check", function()
    it("gives the flow as data", function()
      local ok, about = luaflow.check(hosted.flow(hosted.QUICK))
      assert.is_true(ok)
      assert.equal("Quick", about.name)
      assert.equal("start", about.steps[1].name)
    end)

    it("names every problem", function()
      local ok, problems = luaflow.check(hosted.flow [[return { steps = {
        start = { next = "nowhere", function() end }, lonely = function() end } }]])
      assert.is_nil(ok)
      assert.truthy(problems:find("nowhere", 1, true))
      assert.truthy(problems:find("lonely", 1, true))
    end)
  end)

  describe("a store", function()
    it("is the one that `use` or the option `store` names", function()
      local path = hosted.flow(hosted.QUICK)
      luaflow.use(hosted.path "one")
      luaflow.run(path)
      luaflow.run(path)
      luaflow.use(hosted.path "two")
      local run = luaflow.run(path)
      assert.equal(1, run.id)
      luaflow.use(hosted.path "one")
      assert.equal(2, luaflow.Run("last").id)
      assert.equal(2, luaflow.run(path, { store = hosted.path "two" }).id)
      assert.equal(2, luaflow.Run("last").id)
      assert.are_not.equal(luaflow.Run(1), run)
      assert.equal("hello", run.data.said)
      assert.equal("luaflow.use needs the store's directory, not a number",
        hosted.refusal(function() luaflow.use(1) end))
    end)

    it("that is not there is no error to raise", function()
      local none, message, code = luaflow.Flow "Quick"
      assert.is_nil(none)
      assert.equal(("there is no store at %s: luaflow.run makes one, luaflow.use names another")
        :format(hosted.path "store"), message)
      assert.equal("notfound", code)
    end)

    it("that was removed is made anew", function()
      local path = hosted.flow(hosted.QUICK)
      local runs = {}
      for i = 1, 3 do
        runs[i] = luaflow.run(path)
        assert.equal(1, runs[i].id)
        assert.equal(0, os.execute("rm -r " .. hosted.path "store"))
        assert.is_nil(luaflow.Run(1))
      end
      assert.same({ "done", "done", true, true },
        { runs[1].status, runs[2].status, runs[1]:wait(), runs[1]:cancel() })
    end)

    it("has runs that are polled together", function()
      local path, ended = hosted.flow(hosted.QUICK), 0
      local function count(event) if event.event == "run_finished" then ended = ended + 1 end end
      for i = 1, 4 do
        assert(luaflow.start(path, { store = hosted.path("store" .. i % 2), on_event = count }))
      end
      while ended < 4 do luaflow.poll(0.01) end
    end)
  end)

  describe("a plain luajit", function()
    it("finds one and the same table, and says nothing by itself", function()
      hosted.flow(hosted.QUICK)
      local output, code = hosted.program [[
        local luaflow = require "luaflow"
        package.loaded.luaflow = nil
        assert(require "luaflow" == luaflow)
        assert(require "luaflow.door" == luaflow)
        local run = assert(luaflow.run "flow.lua")
        assert(run.data.said == "hello" and luaflow.current == nil)
        print(luaflow.version)
      ]]
      assert.equal(luaflow.version .. "\n", output)
      assert.equal(0, code)
    end)

    it("uses the store of the command: the nearest one, or that of the environment", function()
      hosted.flow(hosted.QUICK)
      local source = [[ print(require("luaflow").run("%s").id) ]]
      assert.equal("1\n", (hosted.program(source:format "flow.lua")))
      assert.equal(0, os.execute("mkdir " .. hosted.path "below"))
      assert.equal("2\n", (hosted.program(source:format "../flow.lua", "cd below && luajit %s")))
      assert.equal("1\n", (hosted.program(source:format "flow.lua", "LUAFLOW_STORE=other luajit %s")))
      assert.equal("3\n", (hosted.program(source:format "flow.lua", "LUAFLOW_STORE= luajit %s")))
      luaflow.use(hosted.path ".luaflow")
      assert.equal(3, luaflow.Run("last").id)
    end)

    it("leaves quietly while runs go on, which are interrupted then", function()
      hosted.write("flow.lua", [[return { name = "Long", steps = {
        start = { next = "each", foreach = "n", function(self) self.n = 10000 end },
        each = { next = "finish", function() os.execute("sleep 0.01") end },
        finish = function(self, inputs) end } }]])
      local output, code = hosted.program [[
        local luaflow = require "luaflow"
        coroutine.wrap(function()
          for i = 1, 2 do assert(luaflow.start("flow.lua", { on_event = print, store = "store" .. i })) end
          held = luaflow.start("flow.lua", { store = "store1" })
        end)()
      ]]
      assert.equal("", output)
      assert.equal(0, code)
      for _, name in ipairs { "store1", "store2" } do
        luaflow.use(hosted.path(name))
        for run in luaflow.Flow("Long"):runs() do assert.equal("interrupted", run.status) end
      end
    end)

    it("leaves in any way while a run goes on", function()
      hosted.held()
      local function leaves(expected, ending)
        os.remove(hosted.path "go")
        local output, code = hosted.program([[
          local luaflow = require "luaflow"
          held = assert(luaflow.start("flow.lua", { store = "store" }))
        ]] .. ending)
        assert.equal(expected, code)
        assert.are_not.equal("running", luaflow.Run("last").status)
        return output
      end
      assert.equal("", leaves(3, "os.exit(3)"))
      assert.equal("interrupted", luaflow.Run("last").status)
      assert.equal("", leaves(4, "io.open('go', 'w'):close() os.exit(4, true)"))
      assert.truthy(leaves(1, "io.open('go', 'w'):close() error 'gone'"):find("gone", 1, true))
    end)

    it("is interrupted by Ctrl-C, and the run with it", function()
      hosted.held()
      local output, code = hosted.program([[
        local luaflow = require "luaflow"
        luaflow.use "store"
        local function hear(event)
          if event.event == "task_started" then io.popen("kill -INT $PPID"):close() end
        end
        print(pcall(luaflow.run, "flow.lua", { on_event = hear }))
        io.open("go", "w"):close()
        print(luaflow.Run("last"):wait(), luaflow.Run "last")
      ]])
      assert.equal(0, code)
      assert.truthy(output:find("^false\t%S+ interrupted!"), output)
      assert.truthy(output:find("true\t<run Held/1 interrupted>\n", 1, true), output)
    end)

    it("sees in a step that starting runs is for hosts", function()
      hosted.write("flow.lua", [[return { steps = { start = function() require("luaflow").run("flow.lua") end } }]])
      local run = luaflow.run(hosted.path "flow.lua")
      assert.truthy(run.exception.message:find("luaflow.run is for hosts", 1, true))
    end)
  end)
end)
