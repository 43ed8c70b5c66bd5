--- Stores as earlier versions wrote them are read, bit for bit, and what failed in them is
--- resumed. tests/golden/make makes the one of a new version.
package.path = (arg[0]:match "^(.*/)" or "./") .. "../flows/?.lua;" .. package.path
local support = require "support"

local golden = support.root .. "/tests/golden"

-- Artifacts by path.
local function artifacts_of(text)
  local found = {}
  for _, task in ipairs(support.decode(text).tasks) do found[task.path] = task.artifacts end
  return found
end

-- The same but for tracebacks, whose words are free to change.
local function without_tracebacks(artifacts)
  for _, task in pairs(artifacts) do
    if task.failure then task.failure.traceback = nil end
  end
  return artifacts
end

local count = 0
for name in support.shell(("cd '%s' && ls -d store-*"):format(golden)):gmatch "%S+" do
  count = count + 1
  support.test(name .. " is read, and what failed in it is resumed", function(w)
    local dir = golden .. "/" .. name
    w:shell(("mkdir .luaflow && cp '%s/data.mdb' .luaflow/ && cp '%s/flow.lua' ."):format(dir, dir))
    local function expected(file) return w:read(("%s/%s"):format(dir, file)) end

    support.equal(w:expect(0, "runs", "--json").out, expected "runs.json")
    for run = 1, 2 do
      support.equal(w:expect(0, "dump", tostring(run), "--json").out, expected(("dump-%d.json"):format(run)))
      support.equal(w:logs(tostring(run)), expected(("logs-%d.txt"):format(run)))
    end
    w:expect(0, "verify")

    w:expect(0, "resume", "flow.lua", "--origin-run-id", "1", { env = { GOLDEN_GO = "1" } })
    local resumed = support.decode(w:expect(0, "runs", "--json").out).runs[1]
    support.equal(resumed.tasks.reused, support.decode(expected "runs.json").runs[1].tasks.reused)
    local whole = artifacts_of(expected "dump-2.json")
    support.equal(artifacts_of(w:expect(0, "dump", tostring(resumed.id), "--json").out), whole)
    w:run("flow.lua", "--seed", "5", { env = { GOLDEN_GO = "1" } })
    local today = artifacts_of(w:expect(0, "dump", "last", "--json").out)
    support.equal(without_tracebacks(today), without_tracebacks(whole), "what the same flow gives today")
    w:expect(0, "verify")
  end)
end

if count == 0 then support.test("there is a golden store", function() error "there is none" end) end
support.done()
