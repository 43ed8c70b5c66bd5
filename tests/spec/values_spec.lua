-- What core does is faked: bytes stand for the value after their head.
package.loaded["luaflow.core"] = {
  decode_marked = function(bytes)
    if bytes == "\1broken" then return false, "not a value", "value" end
    return true, bytes:sub(2)
  end,
}
local values = require "luaflow.cli.values"

describe("a value in a message", function()
  it("is JSON, cut where it gets long", function()
    assert.equal('"Narcos"', values.short("\166Narcos", 20))
    assert.equal('"Narc…', values.short("\166Narcos", 5))
  end)

  it("is told by its kind and size where it is far too long or cannot be read", function()
    assert.equal("(string, 200 bytes)", values.short("\217\200" .. ("x"):rep(200), 5))
    assert.equal("(list, 200 bytes)", values.short("\159" .. ("x"):rep(199), 5))
    assert.equal("(number, 7 bytes)", values.short("\1broken", 5))
  end)
end)
