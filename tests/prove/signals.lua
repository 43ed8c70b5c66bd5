--- Proves that a run may be interrupted at any time: exit code 130, the run is "interrupted" and
--- is resumed, and no process is left. The second signal ends it at once.
local place = require "place"
local random = require "random"
local support = require "support"
local witness = require "witness"

local signals = {
  name = "signals",
  summary = "interrupted at any time, a run says so, leaves no process, and is resumed",
  count = 300,
}

local INTERRUPTED, UNHANDLED_TERM = 130, 143
local AT_ONCE = 3 -- seconds, on a busy machine

local function check_and_resume(flow, at, code, out, err)
  witness.check_orphans(at)
  local promise = witness.promises(out)
  local run = flow:look(at, "store", promise)
  -- The signal may have come when all was done, or before the command listened.
  if code == 0 then
    if not run or run.status ~= "done" then witness.fail "exit code 0, and the run is not done" end
    return flow:check_whole(run)
  end
  if code ~= INTERRUPTED and (run or code ~= UNHANDLED_TERM) then witness.fail("exit code %s", tostring(code)) end
  if err:find "Abandoned run" then
    if promise.status then witness.fail("an abandoned run was announced as %s", promise.status) end
    -- What is abandoned goes on until the process has ended, and may just then be done.
    if run and run.status == "done" then return flow:check_whole(run) end
  end
  if run and run.status ~= "interrupted" then witness.fail("the run is %s", run.status) end
  flow:complete(at, "store", run)
end

local function interrupt_once(flow, at, r)
  local call = witness.call(at, flow:run_words("store", "--max-workers", r:between(1, 4), "--json"), {
    signal = {
      name = r:pick { "INT", "TERM" },
      after = flow.seconds * 1.2 * r:fraction(),
      is_for_all = r:chance(0.3),
    },
  })
  if call.has_hung then witness.fail "the run hangs" end
  check_and_resume(flow, at, call.code, call.out, call.err)
end

-- The steps of this flow take longer than anybody waits.
local TWICE = [[
cd '%s' && : >wait
env --default-signal=INT LUAFLOW_EXE='%s' PROVE_CASE='%s' '%s' run flow.lua --store store --json >out 2>err </dev/null &
until [ "$(grep -sc '"text":"working"' out)" = 2 ]; do sleep 0.01; kill -0 $! || break; done
kill -%s $!
sleep %.3f
kill -%s $!
start=$(date +%%s%%N)
wait $!
echo $? $(($(date +%%s%%N) - start))
rm wait
]]

local function interrupt_twice(flow, at, r)
  local said = support.shell(TWICE:format(at.dir, support.command, at.dir, support.command,
    r:pick { "INT", "TERM" }, r:fraction() * 0.4, r:pick { "INT", "TERM" }))
  at:note("interrupted twice while both steps work: " .. said)
  local code, nanoseconds = said:match "^(%d+) (%d+)$"
  if not code then witness.fail("the run was not to be interrupted twice: %s", said) end
  if tonumber(nanoseconds) > AT_ONCE * 1e9 then
    witness.fail("after the second signal the run goes on for %.1f s", nanoseconds / 1e9)
  end
  check_and_resume(flow, at, tonumber(code), at:read "out", at:read "err")
end

function signals.prove(dir, seed, count, report)
  local flows, failed = {}, 0
  for i, name in ipairs(witness.flows) do flows[i] = witness.new(dir, name) end
  local slow = witness.new(dir, "slow")
  local twice = 0
  for case = seed, seed + count - 1 do
    local r, at = random.new(case, "signals"), place.new(dir, "signals" .. case)
    local is_twice = r:chance(0.2)
    local flow = is_twice and slow or r:pick(flows)
    flow:bring(at)
    twice = twice + (is_twice and 1 or 0)
    local interrupt = is_twice and interrupt_twice or interrupt_once
    local is_well, problem = witness.try(at, function() interrupt(flow, at, r) end)
    if not is_well then
      failed = failed + 1
      report(case, problem)
    end
  end
  for _, flow in ipairs(flows) do flow:close() end
  slow:close()
  return failed == 0, ("%d runs interrupted, %d of them twice, %d broken promises"):format(count, twice, failed)
end

return signals
