--- Proves that a run which is killed at any of its writes and syncs keeps what it promised.
--- A case is one call that changes the store, of one flow, and whether the kill comes before it,
--- within it or after it; consecutive seeds go through all of them.
local faults = require "faults"
local place = require "place"
local witness = require "witness"

local calls = {
  name = "calls",
  summary = "killed at each write, sync and rename, a run keeps what it announced and is resumed",
  count = 500,
}

local FLOWS = { "small", "large", "wide" }
local MOMENTS = { "before", "within", "after" }
local SLACK = 2 -- calls: how many there are is not the same in each run

local function words_of(flow) return flow:run_words("store", "--max-workers", 2, "--json") end

-- How often a run changes its store.
local function count_calls(flow, dir)
  local at = place.new(dir, "counted-" .. flow.name)
  flow:bring(at)
  witness.call(at, words_of(flow), { environment = faults.environment(at, "store", { journal = "journal" }) })
  local n = faults.read(at.dir .. "/journal").n_calls
  at:remove()
  return n
end

--- Every way in which a run can end at a call: `flow` (of witness.new), `number`, `what` of each.
function calls.all(dir, names, whats)
  local all, flows = {}, {}
  for i, name in ipairs(names) do
    flows[i] = witness.new(dir, name)
    for number = 1, count_calls(flows[i], dir) + SLACK do
      for _, what in ipairs(whats) do all[#all + 1] = { flow = flows[i], number = number, what = what } end
    end
  end
  return all, flows
end

local function prove_one(one, at)
  local flow = one.flow
  local call = witness.call(at, words_of(flow),
    { environment = faults.environment(at, "store", { at = one.number .. " " .. one.what }) })
  if call.has_hung then witness.fail "the run hangs" end
  if call.code ~= 0 and call.code ~= 137 then
    witness.fail("the run ends with exit code %s\n%s%s", tostring(call.code), call.out, call.err)
  end
  local promise = witness.promises(call.out)
  if call.code == 0 then promise.status = "done" end
  local run = flow:look(at, "store", promise)
  if run and run.status == "done" then
    flow:check_whole(run)
  else
    flow:complete(at, "store", run)
  end
  return call.code ~= 0
end

function calls.prove(dir, seed, count, report)
  local all, flows = calls.all(dir, FLOWS, MOMENTS)
  local killed, failed = 0, 0
  for case = seed, seed + count - 1 do
    local one = all[case % #all + 1]
    local at = place.new(dir, "calls" .. case)
    one.flow:bring(at)
    local is_well, problem = witness.try(at, function()
      if prove_one(one, at) then killed = killed + 1 end
    end)
    if not is_well then
      failed = failed + 1
      report(case, problem)
    end
  end
  for _, flow in ipairs(flows) do flow:close() end
  return failed == 0, ("%d of %d moments, %d runs killed, %d broken promises"):format(math.min(count, #all), #all,
    killed, failed)
end

return calls
