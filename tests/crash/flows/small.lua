-- Small values of every kind, a branch, a foreach, logs: many tasks in few transactions.
local function text(i) return ("row %d\n"):format(i):rep(i % 5 * 20) end

return {
  name = "small",
  steps = {
    start = { next = { "rows", "switch" }, function(self)
      self.rows = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }
      self.seen = { [true] = "yes", list = { 1, { 2 } }, [3] = -0.5 }
    end },
    rows = { next = "row", foreach = "rows" },
    row = { next = "gather", function(self)
      self.text = text(self.input)
      self.half = self.input / 2
      print("row", self.input)
    end },
    gather = { next = "join", function(self, inputs)
      self.texts, self.halves = inputs:collect "text", inputs:collect "half"
      self:merge_artifacts(inputs, { include = { "seen" } })
    end },
    switch = { next = { [1] = "odd", [0] = "even" }, switch = "rest", function(self)
      self.seen.rest, self.rest = "changed in place", #self.rows % 2
    end },
    odd = { next = "join" },
    even = { next = "join", function(self) self.long = ("even "):rep(3000) end },
    join = { next = "finish", function(self, inputs)
      self:merge_artifacts(inputs, { exclude = { "seen" } })
      self.seen = { inputs.rows.seen, inputs.switch.seen }
      io.stderr:write("joined ", #self.texts, "\n")
    end },
    finish = function(self) self.sum = #table.concat(self.texts) end,
  },
}
