--- Tasks in a process of their own.
local kit = require "kit"

local MANY = 200
local STARTS = 5

local function run(flow, n) return kit.run(flow, "--n", n, "--max-workers", 1).seconds end

--- What an isolated task takes beyond one that is not, in runs one right after the other.
local function measure_alone()
  local seconds = {}
  for i = 1, STARTS do seconds[i] = run("isolated.lua", 1) - run("each.lua", 1) end
  table.sort(seconds)
  return seconds[math.ceil(STARTS / 2)]
end

return {
  name = "isolate",
  summary = "an isolated task alone, and one of 200, beside posix_spawn of /bin/true",
  measure = function(figures)
    kit.fresh_store()
    local alone = measure_alone()
    local many = run("isolated.lua", MANY) - run("isolated.lua", 1)
    local least = kit.program("spawn", MANY) / MANY
    figures:add {
      name = "an isolated task alone", unit = "s",
      ours = alone, limit = least, aim = { ratio_at_most = 2 },
    }
    figures:add {
      name = "one of 200 isolated tasks", unit = "s",
      ours = many / (MANY - 1), limit = least, aim = { ours_below = 0.0005 },
    }
  end,
}
