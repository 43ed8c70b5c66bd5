-- n trivial tasks: a number in, a number out, a join that adds them up.
return { params = { n = { default = 10000, type = "integer" } }, steps = {
  start  = { next = "work", foreach = "n" },
  work   = { next = "finish", function(self) self.out = self.input * 2 + 0.5 end },
  finish = function(self, inputs)
    local sum = 0
    for _, out in ipairs(inputs:collect("out")) do sum = sum + out end
    assert(sum == self.n * (self.n + 1) + self.n / 2)
    self.sum = sum
  end,
} }
