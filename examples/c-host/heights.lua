-- The highest point of a terrain, row by row. `terrain` is the host's: see host.c.
local terrain = require "terrain"

return { params = { rows = { default = 4 } }, steps = {
  start  = { next = "row", foreach = "rows" },
  row    = { next = "finish", function(self)
    self.highest = 0
    for x = -5, 5 do
      self.highest = math.max(self.highest, terrain.height(x, self.input - 3))
    end
  end },
  finish = function(self, inputs)
    self.highest = math.max(unpack(inputs:collect("highest")))
    print("looked at " .. #inputs .. " rows")
  end,
} }
