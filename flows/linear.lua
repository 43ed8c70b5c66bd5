-- The smallest useful flow: three steps, one after the other.
--
-- What a step assigns on `self` is an artifact. It is stored when the step ends, and every step
-- after it can read it. `scale` assigns nothing to `greeting`, so `greeting` is simply passed on.
return {
  doc   = "Passes artifacts along a line of steps.",
  steps = {
    start = { next = "scale", function(self)
      self.greeting = "hello"
      self.numbers = { 1, 2, 3 }
    end },

    scale = { next = "finish", function(self)
      for i, n in ipairs(self.numbers) do
        self.numbers[i] = n * 10 -- a table changed in place is noticed
      end
    end },

    finish = function(self)
      print(self.greeting .. " " .. table.concat(self.numbers, " "))
    end,
  },
}
