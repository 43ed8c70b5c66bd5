--- Graphs of other shapes: a foreach in a foreach, a wide branch, a long chain.
local kit = require "kit"

local ARMS, STEPS = 500, 10000
local COMMITS = 500 -- as many are timed where a commit for each step would take too long

local function write_branch()
  local names, lines = {}, {}
  for i = 1, ARMS do
    names[i] = ('"b%d"'):format(i)
    lines[i] = ('  b%d = { next = "finish", function(self) self.out = %d end },'):format(i, i)
  end
  table.insert(lines, 1, ("return { steps = {\n  start = { next = { %s } },"):format(table.concat(names, ", ")))
  table.insert(lines, [[
  finish = function(self, inputs)
    local sum = 0
    for _, out in ipairs(inputs:collect("out")) do sum = sum + out end
    self.sum = sum
  end,
} }]])
  return kit.write_flow("branch.lua", lines)
end

--- Steps as a person writes them, one after the other.
local function write_chain(n)
  local lines = { 'return { steps = {\n  start = { next = "s2", function(self) self.n = 1 end },' }
  for i = 2, n - 1 do
    lines[i] = ('  s%d = { next = "%s", function(self) self.n = self.n + 1 end },')
      :format(i, i < n - 1 and "s" .. i + 1 or "finish")
  end
  lines[n] = "  finish = function(self) self.n = self.n + 1 end,\n} }"
  return kit.write_flow("chain.lua", lines)
end

local function measure_beside_records(figures, name, flow, ...)
  local took, left = kit.run_fresh(flow, ...)
  figures:add {
    name = name .. ", beside raw LMDB in the same batches", unit = "tasks/s",
    ours = left.tasks / took.seconds, limit = left.tasks / kit.records(left),
  }
  figures:add { name = "memory of a " .. name, unit = "MB", ours = took.megabytes, limit = left.bytes / 2^20 }
end

local function measure_chain(figures)
  local took, left = kit.run_fresh(write_chain(STEPS))
  local each = { tasks = COMMITS, commits = COMMITS, task_bytes = left.task_bytes / left.tasks * COMMITS }
  figures:add {
    name = "chain of 10,000 steps, beside a pipelined one", unit = "steps/s",
    ours = STEPS / took.seconds, limit = STEPS / (kit.program("pipeline", kit.fresh(), STEPS, 1, 1, "inline")),
  }
  figures:add {
    name = "chain of 10,000 steps, beside a commit for each", unit = "steps/s",
    ours = STEPS / took.seconds, limit = COMMITS / kit.records(each), aim = { ratio_at_least = 1 },
  }
  figures:add {
    name = "commits of a chain of 10,000 steps, beside one for each", unit = "commits",
    ours = left.commits, limit = STEPS,
  }
  figures:add { name = "memory of a chain of 10,000 steps", unit = "MB", ours = took.megabytes }
end

return {
  name = "shapes",
  summary = "nested foreach of 300 x 300 (1,000 x 1,000 with --long), a branch of 500, a chain of 10,000",
  write_chain = write_chain,
  measure = function(figures, long)
    if long then
      measure_beside_records(figures, "foreach of 1,000 x 1,000", "nested.lua", "--n", 1000)
    else
      measure_beside_records(figures, "foreach of 300 x 300", "nested.lua", "--n", 300)
    end
    measure_beside_records(figures, "branch of 500", write_branch())
    measure_chain(figures)
  end,
}
