-- A branch runs different steps at the same time on the same data.
--
-- `next` with a list starts every step of the list. The step they lead to takes `inputs` as its
-- second parameter: that makes it a join, and it waits for all of them. `inputs.lowest` is what
-- the branch through `lowest` left behind.
return {
  doc   = "Computes three things about a list at the same time.",
  steps = {
    start = { next = { "lowest", "highest", "total" }, function(self)
      self.temperatures = { 12, 17, 9, 21, 14 }
    end },

    lowest = { next = "join", function(self)
      self.result = math.min(unpack(self.temperatures))
    end },

    highest = { next = "join", function(self)
      self.result = math.max(unpack(self.temperatures))
    end },

    total = { next = "join", function(self)
      self.result = 0
      for _, degrees in ipairs(self.temperatures) do
        self.result = self.result + degrees
      end
    end },

    join = { next = "finish", function(self, inputs)
      self.range = inputs.highest.result - inputs.lowest.result
      self.mean = inputs.total.result / #inputs.total.temperatures
    end },

    finish = function(self)
      print(("mean %.1f, range %d"):format(self.mean, self.range))
    end,
  },
}
