local excerpt = require "luaflow.excerpt"

describe("an excerpt", function()
  local path, dir

  setup(function()
    path = os.tmpname()
    os.remove(path)
    path = path .. "_with_a_name_that_is_longer_than_sixty_bytes_and_so_is_cut.lua"
    dir = path:match("^(.*/)")
    local file = assert(io.open(path, "w"))
    for i = 1, 12 do
      local text = i == 11 and ("x"):rep(250) or i == 4 and "" or "line " .. i
      file:write(text, i == 5 and "\r\n" or "\n")
    end
    file:close()
  end)
  teardown(function() os.remove(path) end)

  it("has the lines around the one that the message names", function()
    assert.same({ "  5 | line 5", "  6 | line 6", "> 7 | line 7", "  8 | line 8", "  9 | line 9" },
      excerpt.of(path .. ":7: no\nmore:1: text", "", path))
  end)

  it("ends where the file begins and ends", function()
    assert.same({ "> 1 | line 1", "  2 | line 2", "  3 | line 3" }, excerpt.of(path .. ":1: no", nil, path))
    assert.same({ "> 2 | line 2", "  3 | line 3", "  4 |" }, { unpack(excerpt.of(path .. ":2: no", nil, path), 2) })
    assert.same("> 12 | line 12", excerpt.of(path .. ":12: no", nil, path)[3])
    assert.is_nil(excerpt.of(path .. ":13: no", nil, path))
    assert.is_nil(excerpt.of(path .. ":9000: no", nil, path))
    assert.is_nil(excerpt.of(path .. ":0: no", nil, path))
  end)

  it("cuts long lines", function()
    assert.equal("> 11 | " .. ("x"):rep(200) .. "…", excerpt.of(path .. ":11: no", nil, path)[3])
  end)

  it("goes by the traceback where the message names no place", function()
    assert.equal("> 3 | line 3", excerpt.of("no", "stack traceback:\n\t" .. path .. ":3: in function 'f'", path)[3])
    assert.is_nil(excerpt.of("no", nil, path))
    assert.is_nil(excerpt.of("timed out after 30 s", "", path))
  end)

  it("knows the flow's file by the end of a long name", function()
    assert.equal("> 3 | line 3", excerpt.of("..." .. path:sub(-50) .. ":3: no", nil, path)[3])
    assert.is_nil(excerpt.of("...another.lua:3: no", nil, path))
  end)

  it("may be of another Lua file that is there, and of nothing else", function()
    assert.equal("> 3 | line 3", excerpt.of(path .. ":3: no", nil, "f.lua")[3])
    assert.is_nil(excerpt.of(dir .. "gone.lua:3: no", nil, "f.lua"))
    assert.is_nil(excerpt.of("/dev/zero:3: no", nil, "f.lua"))
    assert.is_nil(excerpt.of('[string "x"]:3: no', nil, "f.lua"))
  end)
end)
