--- A host with frames to draw: luaflow_poll keeps to its budget.
local kit = require "kit"

local TASKS = 1000000

return {
  name = "frames",
  summary = "luaflow_poll with a budget of 1 ms beside a foreach, 1,000 frames a round (2,000 with --long)",
  measure = function(figures, long)
    local p = { kit.program("frames", kit.fresh() .. "/store", kit.flows .. "each.lua", TASKS, long and 2000 or 1000) }
    local function add(name, i, limit, aim)
      figures:add { name = name, unit = "s", ours = p[i], limit = limit, aim = aim }
    end
    add("a poll of 1 ms, median", 1, p[7], { ratio_at_most = 1.05 })
    add("a poll of 1 ms, 99.9th percentile", 2, p[8], { ratio_at_most = 1.2 })
    add("a poll of 1 ms, greatest", 3, p[9], { ratio_at_most = 1.2 })
    add("processor's time of a poll of 1 ms, greatest", 6, 0.001, { ratio_at_most = 1.1 })
    kit.fresh()
  end,
}
