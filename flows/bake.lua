-- Bakes a picture: each tile is ray-traced by a task of its own, the join puts them together.
--
--     luaflow run flows/bake.lua --width 1280 --height 720 --samples 64
--     luaflow get last/image -o again.png
--
-- A tile is an FFI array of floats, which is stored and loaded as one block of memory. The heavy
-- code lies in modules beside the flow: a worker loads them once, whereas the flow file itself is
-- fresh for every task. The same arguments give the same bytes, whatever the number of workers.
local ffi = require "ffi"
local png = require "bake.png"
local tracer = require "bake.tracer"

--- Brightness from 0 to 1 for light from nothing to infinity, as a byte. Square roots only: powers
--- may round differently in compiled and in interpreted code.
local function byte_of(light)
  local bright = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
  return math.min(255, math.floor(255 * math.sqrt(bright) + 0.5))
end

return {
  doc    = "Ray-traces spheres on a checkered floor, tile by tile, into a PNG file.",
  params = {
    width   = { default = 480, type = "integer", help = "of the picture, in pixels" },
    height  = { default = 300, type = "integer", help = "of the picture, in pixels" },
    tile    = { default = 60,  type = "integer", help = "side of a tile, in pixels" },
    samples = { default = 16,  type = "integer", help = "rays per pixel: more is smoother" },
    out     = { default = "picture.png", help = "the file to write" },
  },
  steps = {
    start = { next = "render", foreach = "tiles", function(self)
      for _, name in ipairs { "width", "height", "tile", "samples" } do
        assert(self[name] >= 1, name .. " must be at least 1")
      end
      local tiles = {}
      for y = 0, self.height - 1, self.tile do
        for x = 0, self.width - 1, self.tile do
          tiles[#tiles + 1] = {
            x = x, width = math.min(self.tile, self.width - x),
            y = y, height = math.min(self.tile, self.height - y),
          }
        end
      end
      self.tiles = tiles
    end },

    render = { next = "join", function(self)
      local picture = { width = self.width, height = self.height, samples = self.samples }
      local tile = self.input
      self.place = tile
      self.pixels = tracer.render(picture, tile.x, tile.y, tile.width, tile.height)
    end },

    join = { next = "finish", function(self, inputs)
      local rgb = ffi.new("uint8_t[?]", self.width * self.height * 3)
      for _, input in ipairs(inputs) do
        local place, pixels = input.place, input.pixels
        local row = place.width * 3
        for y = 0, place.height - 1 do
          local to = ((place.y + y) * self.width + place.x) * 3
          for i = 0, row - 1 do
            rgb[to + i] = byte_of(pixels[y * row + i])
          end
        end
      end
      self.image = png.encode(self.width, self.height, rgb)
    end },

    finish = function(self)
      local file = assert(io.open(self.out, "wb"))
      assert(file:write(self.image))
      assert(file:close())
      print(("wrote %s: %d x %d pixels, %d bytes"):format(self.out, self.width, self.height,
        #self.image))
    end,
  },
}
