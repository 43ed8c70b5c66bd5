-- `times` arrays of `bytes`, each made by a task of its own. Each mode does one thing more than the
-- one before: make them, store them, read each in the next step.
local ffi = require "ffi"

return {
  params = {
    bytes = { default = 100000, type = "integer" },
    times = { default = 1, type = "integer" },
    mode = { default = "make", choices = { "make", "store", "load" } },
  },
  steps = {
    start = { next = "make", foreach = "times" },
    make = { next = "read", function(self)
      local n = self.bytes / 8
      local array = ffi.new("double[?]", n)
      for i = 0, n - 1 do array[i] = self.input * n + i end
      if self.mode == "make" then self._array = array else self.array = array end
    end },
    read = { next = "finish", function(self)
      if self.mode == "load" then self.last = self.array[self.bytes / 8 - 1] end
    end },
    finish = function(self, inputs)
      if self.mode ~= "load" then return end
      for i, last in ipairs(inputs:collect("last")) do assert(last == (i + 1) * self.bytes / 8 - 1) end
    end,
  },
}
