-- Flows given as Lua tables: what of them goes to workers, and what they do there.

local core = require "luaflow.core"
local ffi = require "ffi"
local native = require "luaflow.native"
local ship = require "luaflow.ship"

local directory, rt

local function run_command(command) assert(os.execute(command) == 0, command) end

--- The command, for isolated steps, stands beside the module.
local executable = package.searchpath("luaflow", package.cpath):gsub("%.so$", "")

--- Runs a flow to its end. Gives the artifacts of its last task, and the run's number.
local function run(flow, options)
  local messages = {}
  options = options or {}
  options.on_event = function(event)
    if event.event == "task_failed" then messages[#messages + 1] = event.message end
  end
  local started = assert(rt:start(assert(core.ship(flow, "Shipped")), options))
  assert.is_true(started:wait(60))
  assert.same({}, messages)
  local id = started:id()
  local numbers = assert(rt:tasks(id, nil, false, 0, 2^20))
  local left = {}
  for _, artifact in ipairs(rt:task(id, numbers[#numbers]).artifacts) do
    local ok, value = rt:artifact(id, numbers[#numbers], artifact.name)
    assert(ok, value)
    left[artifact.name] = value
  end
  return left, id
end

--- What a flow of the one step `f` leaves.
local function leaves(f) return (run { steps = { start = f } }) end

--- Why a table is not taken.
local function refused(flow)
  local handle, message = core.ship(flow, "Shipped")
  assert.is_nil(handle)
  return message
end

local function refused_step(f) return refused { steps = { a = f, start = { next = "a" } } } end

describe("a flow given as a table", function()
  setup(function()
    directory = os.tmpname()
    os.remove(directory)
    run_command("mkdir " .. directory)
    rt = assert(core.open { store = directory .. "/store", create = true, executable = executable })
  end)

  teardown(function()
    rt:close()
    run_command("rm -r " .. directory)
  end)

  describe("takes with it", function()
    it("values of every kind that can be stored", function()
      local none, yes, no, number, minus, text = nil, true, false, 2.5, -0, "a\0b"
      local not_a_number, big, bigger = 0 / 0, 0x7fffffffffffffffLL, 0xffffffffffffffffULL
      local left = leaves(function(self)
        self.none = none == nil
        self.yes, self.no, self.number, self.text, self.minus = yes, no, number, text, 1 / minus
        self.nan = not_a_number ~= not_a_number
        self.big, self.bigger = big == 0x7fffffffffffffffLL, bigger == 0xffffffffffffffffULL
      end)
      assert.same({ none = true, yes = true, no = false, number = 2.5, text = "a\0b", minus = -math.huge, nan = true,
        big = true, bigger = true }, left)
    end)

    it("tables, with keys of every kind, cycles and all", function()
      local ring = { name = "ring", [1] = "one", [2.5] = "half", [true] = "yes", deep = { { {} } } }
      ring.self, ring.deep.up = ring, ring
      local left = leaves(function(self)
        self.same = ring.self == ring and ring.deep.up == ring
        ring.self, ring.deep.up = nil, nil
        self.ring = ring
      end)
      assert.is_true(left.same)
      assert.same({ name = "ring", [1] = "one", [2.5] = "half", [true] = "yes", deep = { { {} } } }, left.ring)
    end)

    it("a list of a hundred thousand tables", function()
      local list = {}
      for i = 1, 100000 do list[i] = { i } end
      assert.equal(5000050000, leaves(function(self)
        self.sum = 0
        for _, element in ipairs(list) do self.sum = self.sum + element[1] end
      end).sum)
    end)

    it("a chain longer than any stack", function()
      local chain = { 0 }
      for i = 1, 50000 do chain = { i, next = chain } end
      assert.equal(50001, leaves(function(self)
        local link = chain
        self.length = 0
        while link do link, self.length = link.next, self.length + 1 end
      end).length)
    end)

    it("FFI arrays and the C types of numbers", function()
      local array, bytes = ffi.new("double[3]", 1, 2, 3), ffi.new("uint8_t[2]", 7, 8)
      local pair = ffi.typeof("float[2]")
      local left = leaves(function(self)
        self.sum = array[0] + array[1] + array[2] + bytes[0] + bytes[1]
        self.size = require("ffi").sizeof(pair)
      end)
      assert.same({ sum = 21, size = 8 }, left)
    end)

    it("other functions, with their own upvalues", function()
      local base = 100
      local function add(n) return n + base end
      local function twice(n) return add(add(n)) end
      assert.equal(201, leaves(function(self) self.x = twice(1) end).x)
    end)

    it("functions that call themselves and each other", function()
      local is_odd
      local function is_even(n) return n == 0 or is_odd(n - 1) end
      function is_odd(n) return n ~= 0 and is_even(n - 1) end
      local function factorial(n) return n <= 1 and 1 or n * factorial(n - 1) end
      local left = leaves(function(self)
        self.even, self.odd, self.factorial = is_even(10), is_odd(10), factorial(10)
      end)
      assert.same({ even = true, odd = false, factorial = 3628800 }, left)
    end)

    it("tables of functions", function()
      local helpers = { half = 0.5, math = { double = function(n) return 2 * n end } }
      function helpers.halve(n) return n * helpers.half end
      assert.equal(5, leaves(function(self) self.x = helpers.halve(helpers.math.double(5)) end).x)
    end)

    it("an upvalue that two functions share, as one", function()
      local count = 0
      local function up() count = count + 1 end
      local function get() return count end
      assert.same({ own = 12, got = 12 }, leaves(function(self)
        up()
        up()
        count = count + 10
        self.own, self.got = count, get()
      end))
      assert.equal(0, count)
    end)

    it("functions made in a loop, each with its own upvalue", function()
      local made = {}
      for i = 1, 3 do made[i] = function() return i end end
      local left = leaves(function(self) self.list = { made[1](), made[2](), made[3]() } end)
      assert.same({ 1, 2, 3 }, left.list)
    end)

    it("instances of a registered class, and the class", function()
      local Vec = {}
      Vec.__index = Vec
      function Vec.new(x, y) return setmetatable({ x = x, y = y }, Vec) end
      function Vec:length() return math.sqrt(self.x * self.x + self.y * self.y) end
      native.register("ShippedVec", Vec)
      local given = Vec.new(3, 4)
      local left = run { steps = {
        start = { next = "finish", function(self)
          self.first, self.second = given, Vec.new(6, 8)
          self.is_vec = getmetatable(given) == Vec
        end },
        -- It does not mention the class: what is registered is known in every step, as in a file's.
        finish = function(self) self.sum = self.first:length() + self.second:length() end,
      } }
      assert.equal(15, left.sum)
      assert.is_true(left.is_vec)
      assert.equal(Vec, getmetatable(left.first))
      native.unregister("ShippedVec")
    end)

    it("a class that is a module", function()
      package.loaded.shipped_class = require "luaflow.nearest" -- any module that workers have
      native.register("ShippedClass", package.loaded.shipped_class)
      local given = setmetatable({ x = 1 }, package.loaded.shipped_class)
      assert.equal(1, leaves(function(self) self.given = given end).given.x)
      native.unregister("ShippedClass")
      package.loaded.shipped_class = nil
    end)

    it("the functions of parameters' defaults", function()
      local base = 40
      local left = run {
        params = { n = { default = function() return base + 2 end } },
        steps = { start = function(self) self.x = self.n end },
      }
      assert.equal(42, left.x)
    end)
  end)

  describe("finds by name", function()
    it("library functions and libraries", function()
      local format, insert, floor, m, b, f, C = string.format, table.insert, math.floor, math, bit, ffi, ffi.C
      local p, t, out = print, tostring, io.stdout
      local left = leaves(function(self)
        local list = {}
        insert(list, format("%05.1f", floor(m.pi)))
        p("hello", t(1))
        self.list, self.bits, self.size = list, b.bor(1, 2), f.sizeof("int")
        self.same = m == math and f == require("ffi") and C == f.C and out == io.stdout and p == print
      end)
      assert.same({ list = { "003.0" }, bits = 3, size = 4, same = true }, left)
    end)

    it("required modules, and what they have", function()
      local file = assert(io.open(directory .. "/shipped_module.lua", "w"))
      file:write([[
        local m = { null = newproxy(true), list = {}, uses = 0 }
        local secret = io.stdout -- could not be sent
        function m.use() m.uses = m.uses + 1 return m.uses, io.type(secret) end
        return m]])
      file:close()
      local path = package.path
      package.path = directory .. "/?.lua;" .. path
      local m = require "shipped_module"
      local use, null = m.use, m.null
      local left = leaves(function(self)
        self.uses, self.type = use()
        self.same = m == require "shipped_module" and null == m.null and use == m.use
      end)
      package.path = path
      package.loaded.shipped_module = nil
      assert.same({ uses = 1, type = "file", same = true }, left)
    end)

    it("what is in a library under another name", function()
      local left = leaves(function(self)
        local door = require "luaflow"
        self.name = door.current.flow_name
      end)
      assert.equal("Shipped", left.name)
    end)

    it("no function that somebody has added to a library", function()
      rawset(string, "shipped_shout", function(s) return s:upper() .. "!" end)
      local shout = rawget(string, "shipped_shout")
      assert.equal("HEY!", leaves(function(self) self.x = shout("hey") end).x)
      rawset(string, "shipped_shout", nil)
    end)

    it("the table of globals, which is the task's", function()
      local env = _G
      local left = leaves(function(self)
        env.mark = 1
        self.mark, self.same = mark, env == _G and getfenv(1) == env -- luacheck: ignore 113
      end)
      assert.same({ mark = 1, same = true }, left)
    end)

    it("nothing else that is global", function()
      rawset(_G, "shipped_global", 5)
      local left = leaves(function(self) self.is_nil = shipped_global == nil end) -- luacheck: ignore 113
      rawset(_G, "shipped_global", nil)
      assert.is_true(left.is_nil)
    end)
  end)

  describe("is refused, with the step and the upvalue, when it has", function()
    it("a userdata", function()
      local conn = newproxy(true)
      assert.equal("step 'a' cannot be sent to a worker: its upvalue 'conn' is a userdata; open it inside the step, or "
        .. "in a module that the step requires", refused_step(function() return conn end))
    end)

    it("something in a table", function()
      local helpers = { open = newproxy(true), [3] = { ["a b"] = newproxy(true) } }
      local message = refused_step(function() return helpers end)
      assert.matches("^step 'a' cannot be sent to a worker: its upvalue 'helpers.open' is a userdata; [^\n]*\n"
        .. "step 'a' cannot be sent to a worker: its upvalue 'helpers%[3%]%[\"a b\"%]' is a userdata;", message)
    end)

    it("something below another function", function()
      local socket = newproxy(true)
      local helpers = { fetch = function() return socket end }
      assert.matches("^step 'a' cannot be sent to a worker: upvalue 'socket' of its upvalue 'helpers.fetch' is a "
        .. "userdata;", refused_step(function() return helpers end))
    end)

    it("a coroutine", function()
      local thread = coroutine.create(function() end)
      assert.matches("its upvalue 'thread' is a coroutine; make it inside the step, or in a module that the step "
        .. "requires$", refused_step(function() return thread end))
    end)

    it("cdata that is no array of numbers", function()
      local pointer, complex = ffi.new("int *"), ffi.new("struct { int x; }")
      local message = refused_step(function() return pointer, complex end)
      assert.matches("its upvalue 'pointer' is a cdata; make it inside the step, .* %(numbers of 64 bits and arrays of "
        .. "numbers can be sent%)", message)
      assert.matches("its upvalue 'complex' is a cdata;", message)
    end)

    it("a C type that was declared here", function()
      local point = ffi.typeof("struct { int x; }")
      assert.matches("its upvalue 'point' is a C type that was declared here;",
        refused_step(function() return point end))
    end)

    it("a C function without a name", function()
      local iterator = ("x"):gmatch(".")
      assert.matches("its upvalue 'iterator' is a C function without a name; take it from a module",
        refused_step(function() return iterator end))
    end)

    it("a table with a metatable that nobody registered", function()
      local object = setmetatable({}, {})
      assert.matches("its upvalue 'object' is a table with a metatable; luaflow.register%(\"Name\", metatable%) lets "
        .. "its instances through;", refused_step(function() return object end))
    end)

    it("a key that is a table", function()
      local by_table = { [{}] = 1 }
      assert.matches("its upvalue 'by_table' has a key that is a table; use strings, numbers or booleans",
        refused_step(function() return by_table end))
    end)

    it("something in the flow's own table", function()
      local thread = coroutine.create(function() end)
      assert.matches("^step 'start' cannot be sent to a worker: its field 'retry' is a coroutine;",
        refused { steps = { start = { function() end, retry = thread } } })
      assert.matches("^the flow cannot be sent to a worker: its field 'doc' is a coroutine;",
        refused { doc = thread, steps = { start = function() end } })
      assert.matches("^the default of parameter 'n' cannot be sent to a worker: its upvalue 'thread' is a coroutine;",
        refused { params = { n = { default = function() return thread end } }, steps = { start = function() end } })
    end)

    it("a module that workers do not find", function()
      package.loaded.shipped_phantom = { f = function() end }
      local phantom = package.loaded.shipped_phantom
      local f = phantom.f
      local message = refused_step(function() return f end)
      assert.matches("^Shipped: upvalue 'f' of step 'a' goes to workers by its name, but module 'shipped_phantom' is "
        .. "not found there: module 'shipped_phantom' not found:", message)
      package.loaded.shipped_phantom = nil
    end)

    it("what somebody has added to a module", function()
      local json = require "luaflow.json"
      json.added = function() end
      local added = json.added
      assert.matches("^Shipped: upvalue 'added' of step 'a' goes to workers by its name, but module 'luaflow.json' has "
        .. "no 'added' there; use what the module itself defines",
        refused_step(function() return added end))
      json.added = nil
    end)
  end)

  it("is checked as a file is, and messages know the places of its functions", function()
    local steps = assert(loadstring("\n\nreturn { start = { next = 'nowhere', function(self) end } }", "=stdin"))()
    assert.equal("stdin:3: step 'start' goes to 'nowhere', which this flow does not have; the nearest step is 'start'",
      refused { steps = steps }:match("[^\n]*"))
    assert.equal("Shipped: the flow has no steps; return { steps = { start = function(self) … end, … } }", refused {})
    assert.matches("step 'start' is a C function; wrap it: function%(self%) … end",
      refused { steps = { start = print } })
  end)

  it("has tracebacks that name the place where it was typed", function()
    local text = "return { steps = { start = function(self)\n  local x = nil + 1\nend } }"
    local flow = assert(loadstring(text, "=stdin"))()
    local failed
    local started = assert(rt:start(assert(core.ship(flow)), {
      on_event = function(event) if event.event == "task_failed" then failed = event end end,
    }))
    started:wait(20)
    assert.equal("stdin:2: attempt to perform arithmetic on a nil value", failed.message)
    assert.equal("stack traceback:\n\tstdin:2: in function <stdin:1>", failed.traceback)
  end)

  it("is named by its table, its host or its file", function()
    local function named(flow, name) return core.ship(flow, name):describe().name end
    local typed = assert(loadstring("return { steps = { start = function(self) end } }", "=stdin"))()
    local filed = assert(loadstring("return { steps = { start = function(self) end } }", "@games/bake.lua"))()
    assert.equal("PromptFlow", named(typed))
    assert.equal("bake", named(filed))
    assert.equal("Given", named(filed, "Given"))
    filed.name = "Own"
    assert.equal("Own", named(filed, "Given"))
    assert.matches("the flow's name \"a/b\" is wrong", select(2, core.ship(typed, "a/b")))
  end)

  it("gets attributes for every step", function()
    local flow = { steps = { start = function() end } }
    local described = core.ship(flow, nil, { { name = "retry", value = "2" } }):describe()
    assert.equal(2, described.steps[1].retry.times)
  end)

  describe("shows as its source", function()
    local function source_of(flow)
      local _, id = run(flow)
      return assert(rt:part(id, "source"))
    end

    it("the lines of a file", function()
      local path = directory .. "/written.lua"
      local file = assert(io.open(path, "w"))
      local helper = "local function helper()\n  return 1\nend\n"
      local step = "return { steps = { start = function(self)\n  self.x = helper()\nend } }\n"
      file:write("-- above\n", helper, step)
      file:close()
      assert.equal("-- A flow that was given as a table: the functions it has and uses.\n\n"
        .. "-- step 'start', " .. path .. ":5\n" .. step .. "\n"
        .. "-- upvalue 'helper' of step 'start', " .. path .. ":2\n" .. helper, source_of(dofile(path)))
    end)

    it("the text of a string", function()
      assert.matches("\n%-%- step 'start', %[string \"return { steps = { start = function%(self%) end...\"%]:1\n"
        .. "return { steps = { start = function%(self%) end } }\n$",
        source_of(loadstring("return { steps = { start = function(self) end } }")()))
    end)

    it("that there is none", function()
      assert.matches("\n%-%- step 'start', stdin:1: the text is not known\n$",
        source_of(loadstring("return { steps = { start = function(self) end } }", "=stdin")()))
    end)
  end)

  describe("runs", function()
    it("with upvalues that are new in each task", function()
      local count, list, array = 0, { 1 }, ffi.new("double[1]")
      local function change()
        count, array[0] = count + 1, array[0] + 1
        list[#list + 1] = "more"
        leaked = (leaked or 0) + 1 -- luacheck: ignore 111 113
        return { count, #list, array[0], leaked } -- luacheck: ignore 113
      end
      local left = run { steps = {
        start = { next = "a", foreach = "items", function(self) self.items = 20 end },
        a = { next = "finish", function(self) self.seen = change() end },
        finish = function(self, inputs) self.all = inputs:collect("seen") end,
      } }
      for _, seen in ipairs(left.all) do assert.same({ 1, 2, 1, 1 }, seen) end
    end)

    it("with the same result, however many workers there are", function()
      local offset = 3
      local function work(n) return (n * 7919 + offset) % 104729 + math.random() end
      local flow = { steps = {
        start = { next = "a", foreach = "items", function(self) self.items = 100 end },
        a = { next = "finish", function(self) self.y = work(self.input) end },
        finish = function(self, inputs) self.ys = inputs:collect("y") end,
      } }
      local one = run(flow, { max_workers = 1, seed = 7 })
      assert.same(one, (run(flow, { max_workers = 4, seed = 7 })))
      assert.equal(100, #one.ys)
    end)

    it("isolated steps in processes of their own", function()
      local count, text = 0, ("x"):rep(300000)
      local function up() count = count + 1 return count end
      local format = string.format
      local left = run { steps = {
        start = { next = "finish", isolate = true, function(self)
          self.said = format("%d %d %d", up(), up(), #text)
        end },
        finish = { isolate = true, function(self) self.again = up() end },
      } }
      assert.equal("1 2 300000", left.said)
      assert.equal(1, left.again)
    end)

    it("ten thousand tasks without growing", function()
      local words = { "a", "b", "c" }
      local function use() return #words end
      local memory = run({ steps = {
        start = { next = "a", foreach = "items", function(self) self.items = 10000 end },
        a = { next = "finish", function(self)
          words[#words + 1] = self.input
          self.n = use()
          if self.index % 1000 == 0 then
            collectgarbage()
            self.kb = collectgarbage("count")
          end
        end },
        finish = function(self, inputs)
          self.first, self.last = inputs[1000].kb, inputs[10000].kb
        end,
      } }, { max_workers = 1 })
      assert.is_true(memory.last < memory.first + 200, memory.first .. " KB, then " .. memory.last .. " KB")
    end)

    it("again when it is resumed, given again", function()
      local flow = { name = "Again", steps = {
        start = { next = "finish", function(self) self.x = 1 end },
        finish = function() error("not yet") end,
      } }
      local first = assert(rt:start(assert(core.ship(flow)), {}))
      first:wait(20)
      assert.equal("failed", first:status())
      flow.steps.finish = function(self) self.y = self.x + 1 end
      local second = assert(rt:resume(assert(core.ship(flow)), { origin = first:id() }))
      second:wait(20)
      assert.equal("done", second:status())
    end)
  end)

  it("leaves the table as it was, and can be sent twice", function()
    local flow = { steps = { start = function() end } }
    local before = flow.steps.start
    assert(core.ship(flow))
    assert(core.ship(flow))
    assert.equal(before, flow.steps.start)
    assert.is_nil(getmetatable(flow))
  end)

  it("is a table", function()
    assert.has_error(function() core.ship(5) end)
  end)
end)

describe("a parcel", function()
  it("of another LuaJIT is refused", function()
    local parcel = ship.pack { steps = { start = function() end } }
    parcel.luajit = "LuaJIT 9 z80"
    assert.error_matches(function() ship.unpack(parcel, true) end, "^the functions of this flow were compiled by "
      .. "LuaJIT 9 z80 and cannot be run by LuaJIT 2")
  end)

  it("is the same every time for the same flow", function()
    local a, b, c = { 1 }, { 2 }, function() end
    local flow = { steps = { start = { next = "b", function() return a end }, b = function() return b, c end } }
    local function shape()
      local parcel = ship.pack(flow)
      parcel.codes = #parcel.codes -- bytecode of the same function may differ
      return parcel
    end
    assert.same(shape(), shape())
  end)

  it("has the code of a function once, however often it was made", function()
    local made = {}
    for i = 1, 10 do made[i] = function() return i end end
    local parcel = ship.pack { steps = { start = function() return made end } }
    assert.equal(2, #parcel.codes)
  end)
end)
