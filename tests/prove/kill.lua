--- Proves that a run which is killed at any moment keeps what it promised, and is resumed.
local place = require "place"
local random = require "random"
local witness = require "witness"

local kill = {
  name = "kill",
  summary = "killed at any moment, a run keeps what it announced and is resumed",
  count = 1000,
}

local function any_call(flow, at, r)
  local words = flow:run_words("store", "--max-workers", r:between(1, 4))
  if r:chance(0.75) then words[#words + 1] = "--json" end
  return witness.call(at, words, { signal = { name = "KILL", after = flow.seconds * r:fraction() } })
end

-- Now and then what resumes a run is killed too.
local function disturb_resume(flow, at, run, r)
  if not run or run.status == "done" or not r:chance(0.3) then return run end
  local call = witness.call(at, { "resume", "flow.lua", "--store", "store", "--json" },
    { signal = { name = "KILL", after = flow.seconds * r:fraction() } })
  local promise = witness.promises(call.out)
  local newest = flow:look(at, "store", { tasks = {} })
  if promise.run and newest.id ~= promise.run then
    witness.fail("run %d was announced, and the newest is %d", promise.run, newest.id)
  end
  if newest.id > run.id then flow:look(at, "store", promise) end
  return newest
end

--- Gives whether the kill came before the end.
local function prove_one(flow, at, r)
  local call = any_call(flow, at, r)
  if call.code == 0 then flow.seconds = call.seconds end -- how fast the machine is just now
  if call.has_hung then witness.fail "the run hangs" end
  local promise = witness.promises(call.out)
  if call.code == 0 then promise.status = "done" end
  witness.check_orphans(at)
  local run = flow:look(at, "store", promise)
  if run and run.status == "done" then
    flow:check_whole(run)
  else
    run = disturb_resume(flow, at, run, r)
    if not run or run.status ~= "done" then flow:complete(at, "store", run) end
  end
  return call.code ~= 0
end

function kill.prove(dir, seed, count, report)
  local flows, killed, failed = {}, 0, 0
  for i, name in ipairs(witness.flows) do flows[i] = witness.new(dir, name) end
  for case = seed, seed + count - 1 do
    local r = random.new(case, "kill")
    local flow, at = r:pick(flows), place.new(dir, "kill" .. case)
    flow:bring(at)
    local is_well, problem = witness.try(at, function()
      if prove_one(flow, at, r) then killed = killed + 1 end
    end)
    if not is_well then
      failed = failed + 1
      report(case, problem)
    end
  end
  for _, flow in ipairs(flows) do flow:close() end
  return failed == 0, ("%d runs, %d of them killed before their end, %d broken promises"):format(count, killed, failed)
end

return kill
