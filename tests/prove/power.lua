--- Proves that a power cut costs nothing that was announced. What runs do to their stores is
--- written down; of that, disks are made as a cut may leave them: calls that were not synced
--- are there, are not, or are torn at a sector. Every disk must open, and hold what was
--- announced before the cut.
---
--- The same with syncs that do nothing must fail: else this proves nothing.
local faults = require "faults"
local place = require "place"
local random = require "random"
local support = require "support"
local witness = require "witness"

local power = {
  name = "power",
  summary = "a power cut leaves a store that opens, with all that was announced",
  count = 3000,
}

local FLOWS = { "small", "large", "wide" }
local CONTROLS = 15 -- one image without syncs for so many with them
local RESUMED = 15  -- one resumed run for so many images

-- A flow's run, and of another the journal.
local function record(dir, name, no_sync)
  local flow = witness.new(dir, name)
  local at = place.new(dir, ("recorded-%s%s"):format(name, no_sync and "-unsynced" or ""))
  flow:bring(at)
  local call = witness.call(at, flow:run_words("store", "--max-workers", 2, "--json"),
    { environment = faults.environment(at, "store", { journal = "journal", no_sync = no_sync }) })
  if call.code ~= 0 then error("the run to be recorded fails:\n" .. call.out .. call.err, 0) end
  local journal = faults.read(at.dir .. "/journal")
  at:remove()
  flow:close()
  return { flow = flow, journal = journal }
end

-- Cuts one run's power and looks at what is left.
local function cut_one(recorded, at, r)
  local flow, journal = recorded.flow, recorded.journal
  flow:bring(at)
  local cut = r:between(1, #journal.entries + 1)
  at:note(("the power is cut at call %d of %d"):format(cut, #journal.entries))
  journal:image(math.min(cut, #journal.entries), r, at.dir)
  local run = flow:look(at, "store", witness.promises(journal:said_before(cut)))
  if run and run.status == "done" then
    flow:check_whole(run)
  elseif r:between(1, RESUMED) == 1 then
    flow:complete(at, "store", run)
    return true
  end
  return false
end

-- How many of `count` images of runs whose syncs do nothing break a promise.
local function control(dir, seed, count)
  local recorded, broken = {}, 0
  for i, name in ipairs(FLOWS) do recorded[i] = record(dir, name, true) end
  for case = seed, seed + count - 1 do
    local at, r = place.new(dir, "control" .. case), random.new(case, "control")
    local is_well = witness.try(at, function() cut_one(r:pick(recorded), at, r) end)
    if not is_well then
      broken = broken + 1
      at:remove()
    end
  end
  return broken
end

function power.prove(dir, seed, count, report)
  local recorded, failed, resumed = {}, 0, 0
  for i, name in ipairs(FLOWS) do recorded[i] = record(dir, name, false) end
  for case = seed, seed + count - 1 do
    local at, r = place.new(dir, "power" .. case), random.new(case, "power")
    local is_well, problem = witness.try(at, function()
      if cut_one(r:pick(recorded), at, r) then resumed = resumed + 1 end
    end)
    if not is_well then
      failed = failed + 1
      report(case, problem)
    end
  end
  local n_controls = math.ceil(count / CONTROLS)
  local broken = control(dir, seed, n_controls)
  local is_sharp = n_controls < 10 or broken > n_controls / 4
  if not is_sharp then
    report(seed, ("of %d disks of runs that were never synced only %d are found to be broken"):format(n_controls,
      broken))
  end
  support.shell(("rm -rf '%s'/peaceful-* "):format(dir))
  return failed == 0 and is_sharp,
    ("%d disks, %d runs resumed, %d broken promises; without syncs %d of %d disks are broken"):format(count, resumed,
      failed, broken, n_controls)
end

return power
