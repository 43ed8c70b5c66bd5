--- A screen that nobody sees, and what is on it. For the tests here.
---
--- Xvfb keeps its picture in a file (an X window dump, as xwd makes them), so that can be read at
--- any time without asking anybody.
local support = require "support"

local screen = {}

local DUMP = "screen/Xvfb_screen0"

local Screen = {}
Screen.__index = Screen

-- The fields of an X window dump's header that matter, by their place.
local HEADER_SIZE, BITS_PER_PIXEL, BYTES_PER_LINE, COLOURS = 1, 12, 13, 20

local function header_field(dump, place)
  local a, b, c, d = dump:byte(place * 4 - 3, place * 4)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

--- Starts a server with a free number, to be closed by who opened it; left alone, it ends some time.
function screen.open(w, width, height)
  w:shell(([[mkdir -p screen
    timeout 100 Xvfb -displayfd 3 -screen 0 %dx%dx24 -fbdir screen -nolisten tcp \
      3>number >xvfb.log 2>&1 </dev/null & echo $! >xvfb.pid]]):format(width, height))
  local number = support.wait_for("Xvfb", function() return (w:read("number") or ""):match("^(%d+)\n") end)
  return setmetatable({ w = w, pid = w:read("xvfb.pid"):match("%d+"), display = ":" .. number }, Screen)
end

--- Ends it, and returns when it has taken its file away.
function Screen:close()
  self.w:shell("kill " .. self.pid)
  support.wait_for("Xvfb to end", function() return self.w:read(DUMP) == nil end)
end

--- What is on it now: a function that gives red, green and blue of the pixel at x, y from 0.
function Screen:look()
  local dump = self.w:read(DUMP)
  local from = header_field(dump, HEADER_SIZE) + header_field(dump, COLOURS) * 12
  local line = header_field(dump, BYTES_PER_LINE)
  support.equal(header_field(dump, BITS_PER_PIXEL), 32)
  return function(x, y)
    local blue, green, red = dump:byte(from + y * line + x * 4 + 1, from + y * line + x * 4 + 3)
    return red, green, blue
  end
end

return screen
