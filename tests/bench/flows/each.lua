-- n trivial tasks: a number in, a number out, a join that adds them up; it collects them, or touches one
-- input after the other.
local function collected(inputs)
  local sum = 0
  for _, out in ipairs(inputs:collect("out")) do sum = sum + out end
  return sum
end

local function touched(inputs)
  local sum = 0
  for _, input in ipairs(inputs) do sum = sum + input.out end
  return sum
end

return { params = { n = { default = 10000, type = "integer" }, touch = { default = false } }, steps = {
  start  = { next = "work", foreach = "n" },
  work   = { next = "finish", function(self) self.out = self.input * 2 + 0.5 end },
  finish = function(self, inputs)
    self.sum = self.touch and touched(inputs) or collected(inputs)
    assert(self.sum == self.n * (self.n + 1) + self.n / 2)
  end,
} }
