-- The light of a level, tile by tile, as the engine wants it: floats in one block.
local ffi = require "ffi"

local SIDE = 16 -- of a tile, in texels

return { params = { tiles = { default = 400 } }, steps = {
  start  = { next = "tile", foreach = "tiles" },
  tile   = { next = "finish", function(self)
    self.texels = ffi.new("float[?]", SIDE * SIDE)
    for i = 0, SIDE * SIDE - 1 do
      local light = 0
      for ray = 1, 200 do light = light + math.sin(self.input * i * ray) ^ 2 end
      self.texels[i] = light / 200
    end
  end },
  finish = function(self, inputs)
    self.light = ffi.new("float[?]", #inputs * SIDE * SIDE)
    for i, texels in ipairs(inputs:collect("texels")) do
      ffi.copy(self.light + (i - 1) * SIDE * SIDE, texels, ffi.sizeof(texels))
    end
  end,
} }
