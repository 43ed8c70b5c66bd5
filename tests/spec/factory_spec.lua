local factory = require "luaflow.factory"

--- What makes functions like `f`.
local function maker(f) return assert(loadstring(factory.of(f))) end

--- Gives the upvalues of `f` values, in their order.
local function fill(f, ...)
  for i = 1, select("#", ...) do debug.setupvalue(f, i, (select(i, ...))) end
  return f
end

describe("a factory", function()
  it("makes a function without upvalues", function()
    assert.equal(42, maker(function(x) return x * 2 end)()(21))
  end)

  it("makes a new function each time, with upvalues of its own", function()
    local count = 10
    local make = maker(function() count = count + 1 return count end)
    local one, other = fill(make(), 0), fill(make(), 100)
    assert.same({ 1, 2, 101, 3 }, { one(), one(), other(), one() })
    assert.equal(10, count)
  end)

  it("leaves upvalues nil at first", function()
    local value = 1
    assert.is_nil(maker(function() return value end)()())
  end)

  it("keeps each upvalue in its place, however many there are", function()
    local names, list = {}, {}
    for i = 1, 60 do names[i], list[i] = "v" .. i, i end
    local source = "local " .. table.concat(names, ",") .. "\nreturn function() return { "
      .. table.concat(names, ",") .. " } end"
    assert.same(list, fill(maker(loadstring(source)())(), unpack(list))())
  end)

  it("knows upvalues that lie further out than the function around", function()
    local far, near = 1, 2
    local inner
    (function()
      local between = near
      function inner() far = far + 1 return far, near, between end
    end)()
    assert.same({ 11, 20, 30 }, { fill(maker(inner)(), 10, 20, 30)() })
  end)

  it("keeps inner functions, varargs, and constants of every kind", function()
    local function f(...)
      local function inner(x) return function() return x end end
      return inner(select("#", ...))(), 2^53, -0.5, "text", { 1, 2, a = { } }, 0x7fffffffffffffffLL, 3i
    end
    local made = { maker(f)()(1, nil, 3) }
    assert.equal(3, made[1])
    assert.same({ 2^53, -0.5, "text" }, { made[2], made[3], made[4] })
    assert.equal(2, #made[5])
    assert.is_true(made[6] == 0x7fffffffffffffffLL)
    assert.equal(3, made[7].im)
  end)

  it("keeps what tracebacks and debuggers show", function()
    local f = assert(loadstring("\n\nreturn function(first)\n  local second = first.x\nend", "@flow.lua"))()
    local made = maker(f)()
    local info = debug.getinfo(made, "S")
    assert.same({ "@flow.lua", 3, 5 }, { info.source, info.linedefined, info.lastlinedefined })
    assert.matches("flow.lua:4: attempt to index local 'first' %(a nil value%)", select(2, pcall(made)))
    assert.equal("first", debug.getlocal(made, 1))
  end)

  it("takes functions that have lost their names and lines", function()
    local up = 5
    local f = loadstring(string.dump(function() return up end, true))
    assert.equal(7, fill(maker(f)(), 7)())
  end)

  it("takes functions that LuaJIT has compiled", function()
    local step = 2
    local function sum(n)
      local total = 0
      for i = 1, n do total = total + i * step end
      return total
    end
    for _ = 1, 100 do sum(100) end
    assert.equal(165, fill(maker(sum)(), 3)(10))
  end)

  it("gives its functions its own environment", function()
    local make = setfenv(maker(function() return answer end), { answer = 42 }) -- luacheck: ignore 113
    assert.equal(42, make()())
  end)

  it("can make functions of what it has made", function()
    local up = 1
    local again = maker(fill(maker(function() return up end)(), 2))
    assert.equal(3, fill(again(), 3)())
  end)

  it("is not for functions written in C", function()
    assert.has_error(function() factory.of(print) end)
  end)
end)
