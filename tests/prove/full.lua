--- Proves that a disk which is full or fails is told in words and costs nothing that is stored.
--- A case is one call that changes the store, of one flow, that fails in one way: once, or from
--- then on; consecutive seeds go through all of them.
local calls = require "calls"
local faults = require "faults"
local place = require "place"
local support = require "support"
local witness = require "witness"

local full = {
  name = "full",
  summary = "a disk that is full or fails ends a run in words; what was stored is there, and it is resumed",
  count = 1200,
}

local FLOWS = { "small", "large", "wide" }
local FAILURES = { "ENOSPC", "ENOSPC+", "EIO", "EIO+", "EDQUOT", "EDQUOT+", "short", "short+" }
local STORE_PROBLEM = 3

-- What went wrong, the file that it was about, and what to do.
local function check_words(call, at, what, run)
  local text = call.out .. call.err
  if not text:find(at.dir .. "/store", 1, true) then witness.fail("the store is not named:\n%s", text) end
  if what:find "^ENOSPC" and not text:find "disk full.* %d+ bytes free" then
    witness.fail("the full disk is not told:\n%s", text)
  end
  if what:find "^EDQUOT" and not text:find "quota" then witness.fail("the quota is not told:\n%s", text) end
  if run and not text:find "luaflow resume flow%.lua" then
    witness.fail("how to go on is not told:\n%s", text)
  end
end

local function prove_one(one, at)
  local flow = one.flow
  local call = witness.call(at, flow:run_words(at.dir .. "/store", "--max-workers", 2),
    { environment = faults.environment(at, "store", { at = one.number .. " " .. one.what }) })
  if call.has_hung then witness.fail "the run hangs" end
  if call.code ~= 0 and call.code ~= STORE_PROBLEM then
    witness.fail("the run ends with exit code %s\n%s%s", tostring(call.code), call.out, call.err)
  end
  local promise = witness.promises(call.out)
  if call.code == 0 then promise.status = "done" end
  local run = flow:look(at, "store", promise)
  if call.code == STORE_PROBLEM then check_words(call, at, one.what, run) end
  if run and run.status == "done" then
    flow:check_whole(run)
  else
    flow:complete(at, "store", run)
  end
  if support.shell(("ls -d '%s'/store.new-* 2>/dev/null"):format(at.dir)) ~= "" then
    witness.fail "a half made store is left"
  end
  return call.code ~= 0
end

function full.prove(dir, seed, count, report)
  local all, flows = calls.all(dir, FLOWS, FAILURES)
  local ended, failed = 0, 0
  for case = seed, seed + count - 1 do
    local one = all[case % #all + 1]
    local at = place.new(dir, "full" .. case)
    one.flow:bring(at)
    local is_well, problem = witness.try(at, function()
      if prove_one(one, at) then ended = ended + 1 end
    end)
    if not is_well then
      failed = failed + 1
      report(case, problem)
    end
  end
  for _, flow in ipairs(flows) do flow:close() end
  return failed == 0, ("%d of %d failing calls, %d runs ended by them, %d broken promises"):format(
    math.min(count, #all), #all, ended, failed)
end

return full
