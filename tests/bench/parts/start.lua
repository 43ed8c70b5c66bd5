--- What a command costs that does next to nothing: a run of one step, and a look at a store in which
--- there is much.
local kit = require "kit"

local STARTS = 5 -- in each round

local function median_of(n, measure)
  local seconds = {}
  for i = 1, n do seconds[i] = measure() end
  table.sort(seconds)
  return seconds[math.ceil(n / 2)]
end

local function measure_start(figures)
  kit.fresh_store()
  local peak = 0
  local ours = median_of(STARTS, function()
    local took = kit.run "one.lua"
    peak = math.max(peak, took.megabytes)
    return took.seconds
  end)
  figures:add {
    name = "run of one step", unit = "s",
    ours = ours, limit = median_of(STARTS, kit.least_start), aim = { ratio_at_most = 2 },
  }
  figures:add { name = "memory of a run of one step", unit = "MB", ours = peak }
end

local function measure_looks(figures, n, tasks)
  kit.run_fresh("each.lua", "--n", n)
  local least = kit.least_start()
  for _, look in ipairs {
    { "runs", "runs" },
    { "status", "status", "last" },
    { "dump of one task", "dump", "2/work/" .. n / 2 },
    { "dump of the last step", "dump", "2/finish" },
  } do
    figures:add {
      name = ("%s, of %s tasks"):format(look[1], tasks), unit = "s",
      ours = median_of(STARTS, function() return kit.command(unpack(look, 2)).seconds end),
      limit = least, aim = { ours_below = 0.05 },
    }
  end
  local head = ("'%s' dump 2 --store '%s/store' | head -n 40"):format(kit.luaflow, kit.place)
  figures:add {
    name = ("dump | head, of %s tasks"):format(tasks), unit = "s",
    ours = kit.measure("sh", "-c", head).seconds, limit = least, aim = { ours_below = 0.05 },
  }
end

return {
  name = "start",
  summary = "a run of one step; runs, status and dump of a large store",
  measure = function(figures, long)
    measure_start(figures)
    if long then measure_looks(figures, 1000000, "1,000,000") else measure_looks(figures, 100000, "100,000") end
  end,
}
