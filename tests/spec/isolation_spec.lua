local ffi = require "ffi"

--- busted remembers declarations itself; a worker's state has LuaJIT's own functions.
local bare = {}
for _, name in ipairs { "cdef", "typeof", "metatype" } do
  for i = 1, debug.getinfo(ffi[name], "u").nups do
    local upvalue, value = debug.getupvalue(ffi[name], i)
    if upvalue == "original" then bare[name] = value end
  end
end
local busted_ffi = {}
for name, value in pairs(ffi) do busted_ffi[name] = value end
for name, value in pairs(bare) do ffi[name] = value end

local signals -- what was asked of the state: "open close execute …"
package.loaded["luaflow.native"] = {
  open_signals = function() signals = signals .. "open " end,
  close_signals = function() signals = signals .. "close " end,
  execute = function(command) signals = signals .. "execute " .. tostring(command) end,
  io_changed = function() signals = signals .. "io " end,
}
local isolation = require "luaflow.isolation"

local globals = getfenv(0)
local directory = os.tmpname()

local function write(name, text)
  local file = assert(io.open(directory .. "/" .. name, "w"))
  file:write(text)
  file:close()
end

--- What furnishing changes is the state's, and here the state is that of the tests.
local before
setup(function()
  before = { path = package.path, require = globals.require, exit = os.exit, popen = io.popen,
    execute = os.execute, output = io.output, input = io.input }
  os.remove(directory)
  os.execute("mkdir " .. directory)
  isolation.furnish(directory)
end)

teardown(function()
  for name, value in pairs(busted_ffi) do ffi[name] = value end
  package.path, globals.require = before.path, before.require
  os.exit = before.exit -- luacheck: ignore 122
  os.execute("rm -r " .. directory)
end)

describe("a declaration", function()
  it("cannot be made again without our help", function()
    local text = "struct isolation_once { int n; };"
    bare.cdef(text)
    assert.has_error(function() bare.cdef(text) end)
  end)

  it("may be made again", function()
    local text = "struct isolation_point { double x, y; };"
    ffi.cdef(text)
    ffi.cdef(text)
    assert.equal(16, ffi.sizeof("struct isolation_point"))
  end)

  it("that is wrong is wrong each time", function()
    for _ = 1, 2 do assert.has_error(function() ffi.cdef("struct {") end) end
  end)

  it("with arguments is made each time", function()
    ffi.cdef("typedef struct { $ x; } isolation_any;", ffi.typeof("int"))
    assert.equal(4, ffi.sizeof("isolation_any"))
  end)

  it("of a type without a name gives the same type again", function()
    local text = "struct { int a, b; }"
    assert.equal(ffi.typeof(text), ffi.typeof(text))
    assert.is_true(ffi.istype(text, ffi.new(text, 1, 2)))
    assert.is_true(ffi.istype(ffi.typeof(text), ffi.new(text)))
    assert.equal(8, ffi.sizeof(text))
    assert.equal(4, ffi.offsetof(text, "b"))
    assert.equal(4, ffi.alignof(text))
    assert.equal(2, ffi.new(text, 1, 2).b)
  end)

  it("uses up no types when it is made again", function()
    local text = "struct { char isolation_probe[3]; }"
    ffi.typeof(text)
    local used = isolation.types_in_use()
    for _ = 1, 100 do
      ffi.new(text)
      ffi.sizeof(text)
      ffi.cast(text .. "*", nil)
    end
    assert.is_true(isolation.types_in_use() - used < 10)
  end)

  it("of a metatype may be made again and keeps the first one", function()
    ffi.cdef("typedef struct { int n; } isolation_meta;")
    local one = ffi.metatype("isolation_meta", { __index = { who = function() return "first" end } })
    local two = ffi.metatype("isolation_meta", { __index = { who = function() return "second" end } })
    local three = ffi.metatype(ffi.typeof("isolation_meta"), {})
    assert.equal("first", one():who())
    assert.equal("first", two():who())
    assert.equal("first", three():who())
  end)
end)

describe("the table of types", function()
  it("is seen to fill up, however often it is asked", function()
    local used = isolation.types_in_use()
    for i = 1, 200 do
      ffi.typeof("struct { int isolation_" .. i .. "; }")
      local now = isolation.types_in_use()
      assert.is_true(now > used)
      used = now
    end
  end)
end)

describe("a module", function()
  it("beside the flow file is found first", function()
    write("isolation_beside.lua", "return { n = 5 }")
    assert.equal(5, require("isolation_beside").n)
    assert.equal(1, package.path:find(directory .. "/?.lua;" .. directory .. "/?/init.lua;", 1, true))
  end)

  it("is loaded with the state's globals, whoever asks", function()
    write("isolation_global.lua", "isolation_made = true return getfenv(1)")
    local environment = setmetatable({}, { __index = globals })
    local asker = coroutine.create(function() -- a thread has globals of its own
      setfenv(0, environment)
      local module = require("isolation_global")
      return module, getfenv(0)
    end)
    local ok, module, after = coroutine.resume(asker)
    assert.is_true(ok)
    assert.equal(environment, after)
    assert.is_nil(rawget(environment, "isolation_made"))
    assert.is_true(module.isolation_made)
  end)

  it("that fails leaves the asker's globals, and blames the asker", function()
    write("isolation_broken.lua", "error('broken', 0)")
    local environment = getfenv(0)
    local ok, message = pcall(function() require("isolation_broken") end)
    assert.is_false(ok)
    assert.equal(environment, getfenv(0))
    assert.truthy(message:find("isolation_spec.lua", 1, true))
    assert.truthy(message:find("broken", 1, true))
    assert.has_error(function() require("isolation_nowhere") end)
  end)
end)

local function assert_exit_says(sentence)
  local ok, message = pcall(function() os.exit(0) end)
  assert.is_false(ok)
  assert.equal(sentence, message:match("isolation_spec.lua:%d+: (.*)"))
end

describe("os.exit", function()
  it("is not for a flow file that is loaded", function()
    assert_exit_says("a flow file must not call os.exit while it is loaded or gives a default; use error to refuse")
  end)
end)

describe("in a worker,", function()
  setup(function()
    signals = ""
    isolation.furnish_worker()
  end)

  teardown(function()
    os.execute, io.popen = before.execute, before.popen -- luacheck: ignore 122
    io.output, io.input = before.output, before.input -- luacheck: ignore 122
  end)

  describe("os.exit", function()
    it("says what it needs", function()
      assert_exit_says("os.exit needs isolate: set isolate = true on the step")
    end)
  end)

  describe("a program that a step starts", function()
    it("is started while the thread lets signals through", function()
      local file = io.popen("echo hello")
      assert.equal("open close ", signals)
      assert.equal("hello\n", file:read("*a"))
      file:close()
    end)

    it("is told from one that changes the default files, which is noted", function()
      signals = ""
      assert.equal(before.output(), io.output())
      assert.equal("", signals)
      io.output(io.output())
      assert.equal("io ", signals)
    end)

    it("that cannot be started leaves them as they were", function()
      signals = ""
      local ok, message = pcall(function() io.popen() end)
      assert.is_false(ok)
      assert.truthy(message:find("isolation_spec.lua", 1, true))
      assert.equal("open close ", signals)
    end)

    it("and waited for is the state's business", function()
      signals = ""
      os.execute("true")
      assert.equal("execute true", signals)
    end)
  end)
end)
