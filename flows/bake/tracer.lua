--- A small ray tracer: spheres on a checkered floor under a soft sun. Runs anywhere.
--- The picture depends on nothing but the arguments: no clock, no math.random.
local ffi = require "ffi"
local bit = require "bit"

local tracer = {}

local sqrt, floor, cos, sin = math.sqrt, math.floor, math.cos, math.sin

-- A surface has a colour and a `shine`, the part of the light that it mirrors.
local function sphere(x, y, z, radius, red, green, blue, shine)
  return { x = x, y = y, z = z, radius = radius, red = red, green = green, blue = blue,
           shine = shine }
end

local spheres = {
  sphere(-0.25, 1.30,  1.70, 1.30, 0.92, 0.94, 0.97, 0.88), -- the big mirror
  sphere(-2.35, 0.85,  0.55, 0.85, 0.85, 0.16, 0.12, 0.06),
  sphere( 2.20, 0.95,  0.80, 0.95, 0.98, 0.62, 0.18, 0.62), -- brass
  sphere(-1.10, 0.42, -0.95, 0.42, 0.10, 0.42, 0.78, 0.10),
  sphere( 0.75, 0.50, -0.75, 0.50, 0.22, 0.62, 0.30, 0.08),
  sphere(-0.15, 0.22, -1.75, 0.22, 0.93, 0.88, 0.80, 0.04),
  sphere( 1.75, 0.28, -1.45, 0.28, 0.55, 0.25, 0.65, 0.20),
  sphere( 4.60, 1.60,  5.20, 1.60, 0.20, 0.45, 0.50, 0.25),
  sphere(-4.90, 1.10,  4.60, 1.10, 0.90, 0.80, 0.35, 0.10),
}
local ground = { shine = 0.06 }

local EYE_X, EYE_Y, EYE_Z = 0.4, 1.75, -7.2 -- looking along z and a little down
local TILT, ZOOM = -0.13, 2.3
local NEAR, BOUNCES = 1e-4, 5
local SUN_X, SUN_Y, SUN_Z = -0.80, 0.48, -0.36
local SUN_SIZE = 0.09 -- how soft its shadows are

local function unit(x, y, z)
  local scale = 1 / sqrt(x * x + y * y + z * z)
  return x * scale, y * scale, z * scale
end

--- What a ray meets first: a surface, or nil; and how far away.
local function meet(x, y, z, dx, dy, dz)
  local nearest, surface = math.huge, nil
  if dy < 0 then
    local distance = -y / dy
    if distance > NEAR then nearest, surface = distance, ground end
  end
  for i = 1, #spheres do
    local s = spheres[i]
    local cx, cy, cz = s.x - x, s.y - y, s.z - z
    local along = cx * dx + cy * dy + cz * dz
    local inside = along * along - (cx * cx + cy * cy + cz * cz) + s.radius * s.radius
    if inside > 0 then
      local distance = along - sqrt(inside)
      if distance > NEAR and distance < nearest then nearest, surface = distance, s end
    end
  end
  return surface, nearest
end

--- The colour of the sky in a direction, with a glow around the sun.
local function sky(dx, dy, dz)
  local up = sqrt(math.max(dy, 0))
  local glow = math.max(dx * SUN_X + dy * SUN_Y + dz * SUN_Z, 0)
  for _ = 1, 7 do glow = glow * glow end -- to the power of 128
  return 0.74 - 0.70 * up + 9 * glow,
         0.52 - 0.36 * up + 7 * glow,
         0.40 - 0.02 * up + 4 * glow
end

--- A point on the unit sphere for two numbers in [0, 1).
local function on_sphere(u, v)
  local z, angle = 1 - 2 * u, 2 * math.pi * v
  local r = sqrt(math.max(0, 1 - z * z))
  return r * cos(angle), r * sin(angle), z
end

--- The light that comes back along a ray. (u, v) chooses a point of the sun, (s, t) a
--- direction in which a surface looks for the light of the sky.
local function trace(x, y, z, dx, dy, dz, u, v, s, t)
  local red, green, blue = 0, 0, 0
  local rest_r, rest_g, rest_b = 1, 1, 1 -- of the ray's light, after what it met so far
  for _ = 1, BOUNCES do
    local surface, distance = meet(x, y, z, dx, dy, dz)
    if not surface then
      local r, g, b = sky(dx, dy, dz)
      return red + rest_r * r, green + rest_g * g, blue + rest_b * b
    end
    x, y, z = x + distance * dx, y + distance * dy, z + distance * dz

    local nx, ny, nz = 0, 1, 0
    local r, g, b
    local haze = 0
    if surface == ground then
      y = 0
      local dark = (floor(x * 0.8) + floor(z * 0.8)) % 2 == 0
      r, g, b = dark and 0.09 or 0.66, dark and 0.10 or 0.61, dark and 0.13 or 0.53
      haze = distance * distance / (distance * distance + 1400)
    else
      nx, ny, nz = unit(x - surface.x, y - surface.y, z - surface.z)
      r, g, b = surface.red, surface.green, surface.blue
    end

    -- the sun, unless something stands before a point of it
    local px, py, pz = on_sphere(u, v)
    local lx, ly, lz = unit(SUN_X + SUN_SIZE * px, SUN_Y + SUN_SIZE * py, SUN_Z + SUN_SIZE * pz)
    local facing = nx * lx + ny * ly + nz * lz
    local sun = facing > 0 and not meet(x, y, z, lx, ly, lz) and 1.9 * facing or 0

    -- the sky, unless something stands before it; more often looked for above than aside
    px, py, pz = on_sphere(s, t)
    local ax, ay, az = unit(nx * 1.0001 + px, ny * 1.0001 + py, nz * 1.0001 + pz)
    local ar, ag, ab = 0.04, 0.04, 0.05
    if not meet(x, y, z, ax, ay, az) then ar, ag, ab = sky(ax, ay, az) end

    -- mirrors mirror more at a glancing angle (Schlick)
    local glance = 1 + (dx * nx + dy * ny + dz * nz)
    local glance2 = glance * glance
    local shine = surface.shine + (1 - surface.shine) * glance2 * glance2 * glance * 0.6
    local keep = (1 - shine) * (1 - haze)
    red = red + rest_r * keep * r * (1.00 * sun + 0.30 * ar)
    green = green + rest_g * keep * g * (0.90 * sun + 0.30 * ag)
    blue = blue + rest_b * keep * b * (0.74 * sun + 0.30 * ab)
    if haze > 0 then
      local hr, hg, hb = sky(dx, 0, dz)
      red = red + rest_r * haze * hr
      green = green + rest_g * haze * hg
      blue = blue + rest_b * haze * hb
    end

    -- a mirror's own colour tints what it shows
    local pass, tint = shine * (1 - haze), surface.shine
    rest_r = rest_r * pass * (1 - tint + tint * r)
    rest_g = rest_g * pass * (1 - tint + tint * g)
    rest_b = rest_b * pass * (1 - tint + tint * b)
    if rest_r + rest_g + rest_b < 0.02 then break end
    local turn = 2 * (dx * nx + dy * ny + dz * nz)
    dx, dy, dz = dx - turn * nx, dy - turn * ny, dz - turn * nz
  end
  return red, green, blue
end

-- Samples of one pixel spread evenly over six dimensions (Roberts' sequence: step by the powers
-- of the inverse of the root of x^7 = x + 1); each pixel starts somewhere else, so that what
-- remains is grain, not a pattern.
local STEPS = {}
for i = 1, 6 do STEPS[i] = (STEPS[i - 1] or 1) / 1.1127756842787055 end

local function scramble(x, y, dimension)
  local h = bit.tobit(x * 73856093 + y * 19349663 + dimension * 83492791)
  for _ = 1, 3 do
    h = bit.bxor(h, bit.lshift(h, 13))
    h = bit.bxor(h, bit.rshift(h, 17))
    h = bit.bxor(h, bit.lshift(h, 5))
  end
  return bit.band(h, 0xffffff) / 0x1000000
end

local function spread(start, i, dimension)
  local value = start + i * STEPS[dimension]
  return value - floor(value)
end

--- The colours of one rectangle of the picture, three floats a pixel, row by row.
function tracer.render(picture, left, top, width, height)
  local pixels = ffi.new("float[?]", width * height * 3)
  local samples, at = picture.samples, 0
  for py = top, top + height - 1 do
    for px = left, left + width - 1 do
      local s1, s2, s3 = scramble(px, py, 1), scramble(px, py, 2), scramble(px, py, 3)
      local s4, s5, s6 = scramble(px, py, 4), scramble(px, py, 5), scramble(px, py, 6)
      local red, green, blue = 0, 0, 0
      for i = 1, samples do
        local dx, dy, dz = unit(
          (2 * (px + spread(s1, i, 1)) - picture.width) / picture.height,
          (picture.height - 2 * (py + spread(s2, i, 2))) / picture.height + TILT * ZOOM,
          ZOOM)
        local r, g, b = trace(EYE_X, EYE_Y, EYE_Z, dx, dy, dz,
          spread(s3, i, 3), spread(s4, i, 4), spread(s5, i, 5), spread(s6, i, 6))
        red, green, blue = red + r, green + g, blue + b
      end
      pixels[at], pixels[at + 1], pixels[at + 2] = red / samples, green / samples, blue / samples
      at = at + 3
    end
  end
  return pixels
end

return tracer
