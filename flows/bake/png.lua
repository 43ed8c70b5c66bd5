--- Writes PNG pictures, uncompressed (deflate has a way to say "as it is"). Runs anywhere.
local ffi = require "ffi"
local bit = require "bit"

local png = {}

local band, bxor, rshift = bit.band, bit.bxor, bit.rshift

local CRC = ffi.new("int32_t[256]")
for i = 0, 255 do
  local c = i
  for _ = 1, 8 do
    c = band(c, 1) == 1 and bxor(rshift(c, 1), 0xedb88320) or rshift(c, 1)
  end
  CRC[i] = c
end

local function crc32(text)
  local c = -1
  for i = 1, #text do
    c = bxor(CRC[band(bxor(c, text:byte(i)), 255)], rshift(c, 8))
  end
  return bit.bnot(c)
end

local function adler32(text)
  local a, b = 1, 0
  for i = 1, #text do
    a = (a + text:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return b * 65536 + a
end

local function big_endian(n)
  return string.char(band(rshift(n, 24), 255), band(rshift(n, 16), 255), band(rshift(n, 8), 255),
                     band(n, 255))
end

local function chunk(kind, data)
  return big_endian(#data) .. kind .. data .. big_endian(crc32(kind .. data))
end

--- A zlib stream of stored blocks.
local function stored(data)
  local parts = { "\120\1" }
  for from = 1, #data, 65535 do
    local block = data:sub(from, from + 65534)
    local low, high = #block % 256, rshift(#block, 8)
    local is_last = from + #block > #data
    parts[#parts + 1] = string.char(is_last and 1 or 0, low, high, 255 - low, 255 - high)
    parts[#parts + 1] = block
  end
  parts[#parts + 1] = big_endian(adler32(data))
  return table.concat(parts)
end

--- The bytes of a PNG file. `rgb` holds width * height * 3 bytes, row by row.
function png.encode(width, height, rgb)
  local rows, row = {}, width * 3
  for y = 0, height - 1 do
    rows[y + 1] = "\0" .. ffi.string(rgb + y * row, row) -- 0: the row is not filtered
  end
  return "\137PNG\r\n\26\n"
    .. chunk("IHDR", big_endian(width) .. big_endian(height) .. "\8\2\0\0\0") -- 8 bits, RGB
    .. chunk("IDAT", stored(table.concat(rows)))
    .. chunk("IEND", "")
end

return png
