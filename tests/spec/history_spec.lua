local history = require "luaflow.history"

local function environment(variables)
  return function(name) return variables[name] end
end

describe("the history", function()
  it("is where programs keep their state", function()
    assert.equal("/s/luaflow/history", history.path(environment { XDG_STATE_HOME = "/s", HOME = "/h" }))
    assert.equal("/h/.local/state/luaflow/history", history.path(environment { HOME = "/h" }))
    assert.equal("/h/.local/state/luaflow/history",
      history.path(environment { XDG_STATE_HOME = "relative", HOME = "/h" }))
    assert.is_nil(history.path(environment {}))
    assert.is_nil(history.path(environment { HOME = "" }))
  end)

  it("has an entry of many lines in one", function()
    local entries = { "x = 1", "for i = 1, 3 do\n  print '\\n'\nend", "a\r\\" }
    local text = ""
    for _, entry in ipairs(entries) do text = text .. history.encode(entry) end
    assert.equal(3, select(2, text:gsub("\n", "")))
    assert.same(entries, (history.decode(text)))
  end)

  it("leaves out a line that was never finished", function()
    assert.same({ "a", "b" }, (history.decode "a\n\nb\nhal"))
  end)

  it("keeps the last thousand", function()
    local lines = {}
    for i = 1, 2000 do lines[i] = i .. "\n" end
    local entries, shortened = history.decode(table.concat(lines))
    assert.equal(1000, #entries)
    assert.equal("1001", entries[1])
    assert.is_nil(shortened)
    entries, shortened = history.decode(table.concat(lines) .. "new\n")
    assert.equal(1000, #entries)
    assert.equal("new", entries[1000])
    assert.truthy(shortened:find("^1002\n.*2000\nnew\n$"))
  end)
end)
