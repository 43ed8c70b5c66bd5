-- n steps that each keep a processor busy for a millisecond; the join adds up what they took of it.
local clock = require "clock"

return { params = { n = { default = 1000, type = "integer" } }, steps = {
  start  = { next = "work", foreach = "n" },
  work   = { next = "finish", function(self) self.seconds = clock.spin(0.001) end },
  finish = function(self, inputs)
    local seconds = 0
    for _, one in ipairs(inputs:collect("seconds")) do seconds = seconds + one end
    self.seconds = seconds
  end,
} }
