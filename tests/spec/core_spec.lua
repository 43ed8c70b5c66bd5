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
    it("that fails is told after the run has ended", function()
      local run = assert(open():start(flow_of(QUICK), {
        on_event = function(event) error("cannot show " .. event.event, 0) end,
      }))
      assert.has_error(function() run:wait(20) end, "cannot show run_started")
      assert.are.equal("done", run:status())
      assert.is_true(run:wait(20))
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

  describe("a store", function()
    it("has a descriptor to wait on from its first run on", function()
      local rt = open()
      assert.is_nil(rt:fd())
      assert.are.equal(0, rt:poll(0))
      assert(rt:start(flow_of(QUICK)))
      assert.are.equal("number", type(rt:fd()))
    end)

    it("needs a name, and says when it is not there", function()
      assert.has_error(function() core.open {} end, "option 'store' must name the store's directory")
      local rt, message, code = core.open { store = directory .. "/none" }
      assert.is_nil(rt)
      assert.truthy(message:find("none", 1, true))
      assert.are.equal("notfound", code)
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
    local again = assert(package.loadlib(path, "luaopen_luaflow"))()
    assert.are.equal("function", type(again.open))
    assert.is_true(run:wait(20))
    assert.are.equal(7, told)
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
