-- A join reads a small field of each of n inputs, and times itself. With `big`, each has a table of a
-- thousand entries beside it, which nobody asks for.
local clock = require "clock"

local function table_of(n, seed)
  local t = {}
  for i = 1, n do t[i] = seed + i end
  return t
end

return { params = { n = { default = 1000, type = "integer" }, big = { default = false } }, steps = {
  start  = { next = "work", foreach = "n" },
  work   = { next = "finish", function(self)
    self.small = self.input
    if self.big then self.large = table_of(1000, self.input) end
  end },
  finish = function(self, inputs)
    local started, sum = clock.now(), 0
    for _, input in ipairs(inputs) do sum = sum + input.small end
    self.seconds = clock.now() - started
    assert(sum == self.n * (self.n + 1) / 2)
  end,
} }
