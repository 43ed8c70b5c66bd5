--- codecs.lua BUILD small|nested [CODEC TIMES] -- writes and reads a value with luaflow.so, lua-cjson,
--- lua-MessagePack and string.buffer. Prints seconds to encode and to decode it once, of each in that
--- order; the processor's, so that others on the machine do not count. With CODEC (from 1) and TIMES,
--- only encodes and decodes it so often, for whoever counts instructions: prints the count of bytes.
local build, which, only, times = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local here = arg[0]:match("^(.*/)")
package.path = here .. "flows/?.lua;" .. package.path
package.cpath = build .. "?.so;" .. package.cpath

local core = require "luaflow.core"
local cjson = require "cjson"
local msgpack = require "MessagePack"
local buffer = require "string.buffer"
local clock = require "clock"

local TURNS, LEAST = 5, 0.02 -- of each measurement the best counts; it lasts so many seconds

local function small() return { id = 17, name = "seventeen", score = 0.75, done = true, tags = { "a", "b" } } end

--- 1,000 tables of 10 entries each.
local function nested()
  local rows = {}
  for i = 1, 1000 do
    rows[i] = {
      id = i, name = "row " .. i, x = i * 0.5, y = i / 3, z = -i, done = i % 2 == 0, kind = "row",
      list = { i, i + 1 },
    }
  end
  return rows
end

local function decode(bytes)
  local _, value = core.decode(bytes)
  return value
end

local CODECS = {
  { core.encode, decode },
  { cjson.encode, cjson.decode },
  { msgpack.pack, msgpack.unpack },
  { buffer.encode, buffer.decode },
}

local function repeated(fn, argument, n)
  for _ = 1, n do fn(argument) end
end

local function measure(fn, argument)
  local n, best = 1, math.huge
  while true do
    local started = clock.spent()
    repeated(fn, argument, n)
    if clock.spent() - started >= LEAST then break end
    n = n * 2
  end
  for _ = 1, TURNS do
    local started = clock.spent()
    repeated(fn, argument, n)
    best = math.min(best, (clock.spent() - started) / n)
  end
  return best
end

local value = which == "small" and small() or nested()
if only then
  local encode, read = unpack(CODECS[only])
  local bytes = encode(value)
  repeated(encode, value, times)
  repeated(read, bytes, times)
  print(#bytes)
  return
end
for _, codec in ipairs(CODECS) do
  local encode, read = unpack(codec)
  print(("%.12f %.12f"):format(measure(encode, value), measure(read, encode(value))))
end
