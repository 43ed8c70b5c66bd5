--- Tasks in a process of their own.
local kit = require "kit"

local MANY = 200
local STARTS = 5

local function median_of(n, measure)
  local seconds = {}
  for i = 1, n do seconds[i] = measure() end
  table.sort(seconds)
  return seconds[math.ceil(n / 2)]
end

local function run(flow, n)
  return function() return kit.run(flow, "--n", n, "--max-workers", 1).seconds end
end

return {
  name = "isolate",
  summary = "an isolated task alone, and one of 200, beside posix_spawn of /bin/true",
  measure = function(figures)
    kit.fresh_store()
    local plain, one = median_of(STARTS, run("each.lua", 1)), median_of(STARTS, run("isolated.lua", 1))
    local many = run("isolated.lua", MANY)()
    local least = kit.program("spawn", MANY) / MANY
    figures:add {
      name = "an isolated task alone", unit = "s",
      ours = one - plain, limit = least, aim = { ratio_at_most = 2 },
    }
    figures:add {
      name = "one of 200 isolated tasks", unit = "s",
      ours = (many - one) / (MANY - 1), limit = least, aim = { ours_below = 0.0005 },
    }
  end,
}
