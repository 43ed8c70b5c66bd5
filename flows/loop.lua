-- A switch that leads back makes a loop: here `train` runs again until it has converged.
--
-- Each turn is a task of its own, so each turn's artifacts are kept and can be read afterwards:
--
--     luaflow dump last/train --include turn,slope,loss
return {
  doc    = "Fits a line through points by gradient descent, one task per turn.",
  params = {
    rate      = { default = 0.1,   help = "how far to go against the gradient" },
    tolerance = { default = 1e-6,  help = "the loss that is good enough" },
    max_turns = { default = 500,   help = "give up after so many turns", type = "integer" },
  },
  steps = {
    start = { next = "train", function(self)
      self.points = {}
      for x = -2, 2 do
        self.points[#self.points + 1] = { x = x, y = 3 * x + 1 }
      end
      self.slope, self.intercept, self.turn = 0, 0, 0
    end },

    train = { next = { [false] = "train", [true] = "finish" }, switch = "converged", function(self)
      local n = #self.points
      local loss, by_slope, by_intercept = 0, 0, 0
      for _, point in ipairs(self.points) do
        local off = self.slope * point.x + self.intercept - point.y
        loss = loss + off * off / n
        by_slope = by_slope + 2 * off * point.x / n
        by_intercept = by_intercept + 2 * off / n
      end
      self.slope = self.slope - self.rate * by_slope
      self.intercept = self.intercept - self.rate * by_intercept
      self.turn = self.turn + 1
      self.loss = loss
      self.converged = loss <= self.tolerance or self.turn >= self.max_turns
    end },

    finish = function(self)
      print(("y = %.2f x + %.2f after %d turns"):format(self.slope, self.intercept, self.turn))
    end,
  },
}
