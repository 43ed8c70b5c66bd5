--- Large values: one great array, and many of 100 KB. Storing them is what a run that stores them takes
--- longer than one that only makes them, so what filling them takes is in neither.
local kit = require "kit"

local MODES = { "make", "store", "load" } -- see flows/large.lua
local PIECE = 100000

--- Runs each mode; leaves the last one's store. Seconds and peaks by mode.
local function run_modes(bytes, times)
  local seconds, peak = {}, {}
  for _, mode in ipairs(MODES) do
    kit.fresh_store()
    local took = kit.run("large.lua", "--mode", mode, "--bytes", bytes, "--times", times)
    seconds[mode], peak[mode] = took.seconds, took.megabytes
  end
  return seconds, peak
end

local function get(pathspec) return kit.command("get", pathspec, "-o", "/dev/null").seconds end

--- The figures of all modes; returns how fast the limit loads.
local function add_modes(figures, name, megabytes, seconds, bytes, times)
  local store_least, load_least = kit.program("blocks", kit.fresh(), bytes, times)
  kit.fresh() -- the next round is not to wait for this one's pages
  figures:add {
    name = name .. ", stored", unit = "MB/s",
    ours = megabytes / (seconds.store - seconds.make), limit = megabytes / store_least,
    aim = { ratio_at_least = 0.5 },
  }
  figures:add {
    name = name .. ", stored and read by the next step", unit = "MB/s",
    ours = megabytes / (seconds.load - seconds.make), limit = megabytes / (store_least + load_least),
    aim = { ratio_at_least = 0.5 },
  }
  return megabytes / load_least
end

local function measure_array(figures, bytes, words)
  local name, megabytes = "array of " .. words, bytes / 2^20
  local seconds, peak = run_modes(bytes, 1)
  local got = get "2/make/array" - get "2/read/last"
  kit.output_of("rm", "-rf", kit.place .. "/store")
  local loaded = add_modes(figures, name, megabytes, seconds, bytes, 1)
  figures:add { name = "luaflow get of an " .. name, unit = "MB/s", ours = megabytes / got, limit = loaded }
  for _, mode in ipairs { "store", "load" } do
    figures:add {
      name = ("memory to %s an %s"):format(mode, name), unit = "MB",
      ours = peak[mode], limit = megabytes, aim = { ratio_at_most = 3.2 },
    }
  end
end

local function measure_pieces(figures, times, words)
  local name, megabytes = words .. " arrays of 100 KB", PIECE * times / 2^20
  local seconds, peak = run_modes(PIECE, times)
  kit.output_of("rm", "-rf", kit.place .. "/store")
  add_modes(figures, name, megabytes, seconds, PIECE, times)
  figures:add { name = "memory of " .. name, unit = "MB", ours = peak.load, limit = megabytes }
end

return {
  name = "large",
  summary = "an array of 256 MB (1 GB with --long), 2,000 (10,000) arrays of 100 KB",
  measure = function(figures, long)
    if long then
      measure_pieces(figures, 10000, "10,000")
      measure_array(figures, 2^30, "1 GB")
    else
      measure_pieces(figures, 2000, "2,000")
      measure_array(figures, 2^28, "256 MB")
    end
  end,
}
