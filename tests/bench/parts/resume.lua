--- What was done is taken over, not done again.
local kit = require "kit"

local TASKS = 100000

return {
  name = "resume",
  summary = "resume of 100,000 finished tasks beside running them",
  measure = function(figures)
    local ran = kit.run_fresh("each.lua", "--n", TASKS)
    local resumed = kit.command("resume", kit.flows .. "each.lua", "finish", "--quiet")
    figures:add {
      name = "resume of 100,000 finished tasks, beside running them", unit = "tasks/s",
      ours = TASKS / resumed.seconds, limit = TASKS / ran.seconds, aim = { ratio_at_least = 3 },
    }
    figures:add { name = "memory of a resume of 100,000 tasks", unit = "MB", ours = resumed.megabytes }
  end,
}
