--- Steps that compute: does a second worker help as a second processor does, and what does luaflow
--- take for itself?
local kit = require "kit"

local STEPS = 1000

local function spin(seconds) return { "luajit", kit.root .. "/tests/bench/spin.lua", seconds } end

return {
  name = "compute",
  summary = "steps of one millisecond each, with one worker and with two",
  measure = function(figures)
    kit.fresh_store()
    local one = kit.run("compute.lua", "--n", STEPS, "--max-workers", 1)
    local inside = kit.get "last/finish/seconds"
    local two = kit.run("compute.lua", "--n", STEPS, "--max-workers", 2)
    local processes = kit.measure_at_once(spin(STEPS / 2000), spin(STEPS / 2000))
    figures:add {
      name = "steps of 1 ms with two workers beside one", unit = "steps/s",
      ours = STEPS / two.seconds, limit = STEPS / one.seconds, aim = { ratio_at_least = 1.9 },
    }
    figures:add {
      name = "steps of 1 ms with two workers beside two processes", unit = "steps/s",
      ours = STEPS / two.seconds, limit = STEPS / processes.seconds,
    }
    figures:add {
      name = "processors' time of steps of 1 ms beside that inside them", unit = "s",
      ours = one.cpu, limit = inside, aim = { ratio_at_most = 1.02 },
    }
  end,
}
