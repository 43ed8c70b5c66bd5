-- Splits nest: a foreach of shelves, in it a foreach of books, in that a branch.
--
-- Every split is closed by its own join, like brackets. `self:foreach_stack()` tells a step where
-- it stands, from the outside in; the path of a task tells the same: describe[1][2] is the
-- second book of the first shelf.
return {
  doc   = "Walks a library: shelves, books, and two looks at each book.",
  steps = {
    start = { next = "shelf", foreach = "shelves", function(self)
      self.shelves = {
        { name = "seas",   books = { "Moby Dick", "Treasure Island" } },
        { name = "robots", books = { "R.U.R." } },
      }
    end },

    shelf = { next = "book", foreach = "books", function(self)
      self.name = self.input.name
      self.books = self.input.books
    end },

    book = { next = { "letters", "initials" }, function(self)
      self.title = self.input
    end },

    letters = { next = "describe", function(self)
      self.count = #self.title:gsub("%A", "")
    end },

    initials = { next = "describe", function(self)
      self.short = self.title:gsub("(%a)%a*", "%1"):gsub("[^%a]", "")
    end },

    describe = { next = "shelf_done", function(self, inputs)
      local place = {}
      for _, level in ipairs(self:foreach_stack()) do
        place[#place + 1] = level.index .. " of " .. level.size
      end
      self.line = ("%s: %s has %d letters (%s)"):format(inputs.letters.name,
        inputs.initials.short, inputs.letters.count, table.concat(place, ", "))
    end },

    shelf_done = { next = "library_done", function(self, inputs)
      self.lines = inputs:collect("line")
    end },

    library_done = { next = "finish", function(self, inputs)
      self.lines = {}
      for _, shelf in ipairs(inputs) do
        for _, line in ipairs(shelf.lines) do
          self.lines[#self.lines + 1] = line
        end
      end
    end },

    finish = function(self)
      print(table.concat(self.lines, "\n"))
    end,
  },
}
