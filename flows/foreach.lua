-- A foreach runs one task per element of a list, as many at once as there are workers.
--
-- Inside it `self.input` is the element and `self.index` its position. The join sees its inputs
-- in the order of the list, whichever task ended first.
return {
  name   = "ForeachFlow",
  doc    = "Processes every title in parallel.",
  params = {
    suffix = { default = "processed", help = "what to append" },
  },
  steps = {
    start = { next = "a", foreach = "titles", function(self)
      self.titles = { "Stranger Things", "House of Cards", "Narcos" }
    end },

    a = { next = "join", function(self)
      self.title = self.input .. " " .. self.suffix
    end },

    join = { next = "finish", function(self, inputs)
      self.results = inputs:collect("title")
    end },

    finish = function(self)
      print(table.concat(self.results, "\n"))
    end,
  },
}
