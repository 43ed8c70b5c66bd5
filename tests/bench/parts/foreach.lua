--- Many small tasks, durably: the reason for most of what luaflow is made of.
local kit = require "kit"

local WORKERS = 2
local CHUNK = 256
local SMALL, SMALL_RUNS = 1000, 5

--- Seconds of a run beyond what its start takes: of several, each right after a run of one step, the
--- median.
local function cost(n, times)
  local seconds = {}
  for i = 1, times do seconds[i] = -kit.run("one.lua").seconds + kit.run("each.lua", "--n", n).seconds end
  table.sort(seconds)
  return seconds[math.ceil(times / 2)]
end

local function pipeline(n, how)
  return n / (kit.program("pipeline", kit.fresh(), n, WORKERS, CHUNK, how))
end

local function measure_foreach(figures, n, words)
  local took, left = kit.run_fresh("each.lua", "--n", n)
  local name, rate = "foreach of " .. words, n / took.seconds
  figures:add {
    name = name .. ", beside raw LMDB in the same batches", unit = "tasks/s",
    ours = rate, limit = n / kit.records(left), aim = { ratio_at_least = 0.5 },
  }
  local _, _, _, _, least_bytes = kit.program("contents", kit.place .. "/limit")
  figures:add {
    name = name .. ", beside a pipeline, values under keys", unit = "tasks/s",
    ours = rate, limit = pipeline(n, "keyed"), aim = { ratio_at_least = 0.4 },
  }
  figures:add {
    name = name .. ", beside a pipeline, values in records", unit = "tasks/s",
    ours = rate, limit = pipeline(n, "inline"), aim = { ratio_at_least = 0.4 },
  }
  figures:add {
    name = ("a task of %s beside one of 1,000"):format(words), unit = "s",
    ours = cost(n, 1) / n, limit = cost(SMALL, SMALL_RUNS) / SMALL, aim = { ratio_at_most = 1.3 },
  }
  local bound = n == 1000000 and { ours_below = 400 } or nil
  figures:add {
    name = "memory of a " .. name, unit = "MB", ours = took.megabytes, limit = left.bytes / 2^20, aim = bound,
  }
  figures:add {
    name = ("memory of a %s, each input touched"):format(name), unit = "MB",
    ours = kit.run("touched.lua", "--n", n).megabytes, limit = left.bytes / 2^20, aim = bound,
  }
  figures:add {
    name = "disk for a task of " .. words, unit = "B",
    ours = left.file_bytes / left.tasks, limit = least_bytes / left.tasks,
  }
end

return {
  name = "foreach",
  summary = "100,000 trivial tasks and a join; 1,000,000 with --long",
  measure = function(figures, long)
    measure_foreach(figures, 100000, "100,000")
    if long then measure_foreach(figures, 1000000, "1,000,000") end
  end,
}
