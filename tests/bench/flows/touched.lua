-- As each.lua, but the join touches one input after the other instead of collecting their numbers.
return { params = { n = { default = 10000, type = "integer" } }, steps = {
  start  = { next = "work", foreach = "n" },
  work   = { next = "finish", function(self) self.out = self.input * 2 + 0.5 end },
  finish = function(self, inputs)
    local sum = 0
    for _, input in ipairs(inputs) do sum = sum + input.out end
    assert(sum == self.n * (self.n + 1) + self.n / 2)
    self.sum = sum
  end,
} }
