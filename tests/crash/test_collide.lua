--- Values that share a key are kept apart, in one run and across runs.
package.path = (arg[0]:match "^(.*/)" or "./") .. "../flows/?.lua;" .. package.path
local support = require "support"

local collide = support.command:match "^(.*)/" .. "/tests/collide"

local FLOW = [[
local function read(n)
  local file = assert(io.open("values/" .. n, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

return { steps = {
  start = { next = "each", foreach = "n", function(self) self.n = 6 end },
  each = { next = "join", function(self)
    self.value = read(self.index)
    self.list = { self.value, "and more" }
  end },
  join = { next = "finish", function(self, inputs)
    for i, input in ipairs(inputs) do assert(input.value == read(i), "number " .. i) end
    self.all = inputs:collect "value"
    self.value = inputs[2].value
  end },
  finish = function(self)
    if io.open "stop" then error "stopped" end
    for i, value in ipairs(self.all) do assert(value == read(i), "number " .. i) end
    assert(self.value == read(2))
  end,
} }]]

local function compare(w, run)
  local same = w:shell(([[for i in 1 2 3 4 5 6; do '%s' get collide/%s/each/$((i + 1))/value --store .luaflow >got
    cmp got values/$i && echo same; done]]):format(support.command, run))
  support.equal(same, ("same\n"):rep(5) .. "same")
end

support.test("artifacts of 512 bytes that share their key come back as they were", function(w)
  w:write("collide.lua", FLOW)
  local key = w:shell(("mkdir values && '%s' values 6"):format(collide))
  support.matches(key, "^%x+$")
  support.equal(w:shell "cat values/* | wc -c", tostring(6 * 509))
  support.equal(w:shell "md5sum values/* | cut -c1-32 | sort -u | wc -l", "6")
  w:run("collide.lua", "--max-workers", "4")
  support.equal(w:shell(("'%s' dump collide/1/each/2 --raw value --store .luaflow | wc -c"):format(support.command)),
    "512")
  compare(w, 1)
  -- They are there already, in an order that need not be that of before.
  w:write("stop", "")
  w:expect(1, "run", "collide.lua", "--max-workers", "4")
  w:shell "rm stop"
  w:expect(0, "resume", "collide.lua")
  compare(w, 2)
  compare(w, 3)
  w:expect(0, "verify")
end)

support.done()
