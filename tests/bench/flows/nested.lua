-- A foreach of n in each of n: a number in, a number out, joins that add them up.
local function sum(list)
  local total = 0
  for _, out in ipairs(list) do total = total + out end
  return total
end

return { params = { n = { default = 100, type = "integer" } }, steps = {
  start  = { next = "row", foreach = "n" },
  row    = { next = "work", foreach = "n" },
  work   = { next = "added", function(self) self.out = self.input end },
  added  = { next = "finish", function(self, inputs) self.out = sum(inputs:collect("out")) end },
  finish = function(self, inputs) assert(sum(inputs:collect("out")) == self.n * self.n * (self.n + 1) / 2) end,
} }
