-- Foreaches in a foreach and a loop: hundreds of short tasks, committed in groups.
return {
  name = "wide",
  steps = {
    start = { next = "outer", foreach = "outer", function(self)
      self.outer, self.turn = 4, 0
    end },
    outer = { next = "inner", foreach = "inner", function(self) self.inner = 40 end },
    inner = { next = "sum", function(self)
      self.x = self.input * 1000 + self:foreach_stack()[1].index
      if self.input % 10 == 0 then print("tenth", self.input) end
    end },
    sum = { next = "loop", function(self, inputs)
      self.sum, self.turn = 0, 0
      for _, x in ipairs(inputs:collect "x") do self.sum = self.sum + x end
    end },
    loop = { next = { [true] = "loop", [false] = "join" }, switch = "again", function(self)
      self.turn = self.turn + 1
      self.again = self.turn < 3
    end },
    join = { next = "finish", function(self, inputs) self.sums = inputs:collect "sum" end },
    finish = function(self) print(unpack(self.sums)) end,
  },
}
