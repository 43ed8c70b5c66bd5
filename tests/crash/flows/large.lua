-- Blocks of up to 5 MB, in one piece and in chunks; the same block twice.
local ffi = require "ffi"

local function block(seed, size)
  local bytes = ffi.new("uint8_t[?]", size)
  for i = 0, size - 1 do
    seed = (seed * 1103515245 + 12345) % 2^31
    bytes[i] = seed / 65536 % 10
  end
  return bytes
end

return {
  name = "large",
  steps = {
    start = { next = "fill", foreach = "sizes", function(self)
      self.sizes = { 3000, 70000, 400000, 400000, 5000000 }
    end },
    fill = { next = "join", function(self)
      self.block = block(self.input, self.input)
      print("filled", self.input)
    end },
    join = { next = "finish", function(self, inputs)
      self.blocks = #inputs
      self.last = inputs[#inputs].block
      self.last[0] = 7
    end },
    finish = function(self) self.first = self.last[0] end,
  },
}
