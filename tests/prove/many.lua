--- Proves that many processes may use one store at once, and be killed while they do. A case is
--- a crowd of eight: runs, resumes, readers and tags, one after the other, of which some are
--- killed. Before the crowds readers are killed while a run has the store open: their places are
--- given to others.
local place = require "place"
local random = require "random"
local support = require "support"
local witness = require "witness"

local many = {
  name = "many",
  summary = "eight processes at once and killed ones in between leave a sound store",
  count = 10,
}

local CROWD, CALLS = 8, 130
local READERS = 100 -- killed ones for each crowd; a store has room for 1,024 at once
local PATIENCE = 120
local KILLED, USAGE = 137, 2

local Crowd = {}
Crowd.__index = Crowd

-- Starts a call that ends by itself, with one of the codes `may_end`, or is killed after so many
-- seconds.
function Crowd:start(words, killed, may_end, flow)
  self.number = self.number + 1
  local base = ("%s/many%d"):format(self.at.dir, self.number)
  local line = "cd '%s' && LUAFLOW_EXE='%s' timeout -s KILL %s '%s' %s --store store >%s.out 2>%s.err </dev/null"
  line = line:format(self.at.dir, support.command, killed and ("%.4f"):format(killed) or PATIENCE, support.command,
    words, base, base)
  os.execute(("(%s; echo $? >%s.code) &"):format(line, base))
  return { words = words, number = self.number, is_killed = killed ~= nil, may_end = may_end, flow = flow }
end

local READINGS = {
  "runs --json",
  "runs",
  "status last",
  "dump last --json --max-value-size 1000",
  "logs last",
  "tag list last",
  "verify",
}

function Crowd:next()
  local r = self.random
  local kind = r:weighted { run = 3, resume = 2, reading = 4, tag = 1 }
  local killed = r:chance(0.35) and r:fraction() * 0.08 or nil
  if kind == "run" then
    local flow = r:pick(self.flows)
    return self:start(("run %s.lua --seed 11 --max-workers 2 --json --tag t%d"):format(flow.name, r:between(1, 3)),
      killed, { 0 }, flow)
  elseif kind == "resume" then
    local flow = r:pick(self.flows)
    -- There may be no run yet, or it may be running.
    return self:start(("resume %s.lua --json"):format(flow.name), killed, { 0, USAGE }, flow)
  elseif kind == "reading" then
    return self:start(r:pick(self.readings), killed and killed / 4, { 0, USAGE })
  end
  return self:start(("tag %s last spring"):format(r:pick { "add", "remove" }), killed, { 0, USAGE })
end

local function is_among(code, codes)
  for _, one in ipairs(codes) do
    if one == code then return true end
  end
  return false
end

-- Looks at a call that has ended; keeps what it promised.
function Crowd:finish(call)
  local code = tonumber((self.at:read(("many%d.code"):format(call.number))))
  local out, err = self.at:read(("many%d.out"):format(call.number)), self.at:read(("many%d.err"):format(call.number))
  if code == KILLED and call.is_killed then
    self.killed = self.killed + 1
  elseif not is_among(code, call.may_end) then
    witness.fail("luaflow %s: exit code %s\n%s%s", call.words, tostring(code), out, err)
  end
  if call.flow then
    local promise = witness.promises(out)
    if promise.run then self.promises[#self.promises + 1] = { promise = promise, flow = call.flow } end
  end
end

function Crowd:has_ended(call)
  return (self.at:read(("many%d.code"):format(call.number)) or ""):find "\n" ~= nil
end

function Crowd:run()
  local calls = {}
  local started = 0
  for _ = 1, PATIENCE * 500 do
    for slot = 1, CROWD do
      local call = calls[slot]
      if call and self:has_ended(call) then
        calls[slot] = nil
        self:finish(call)
      end
      if not calls[slot] and started < CALLS then
        started = started + 1
        calls[slot] = self:next()
      end
    end
    if next(calls) == nil then return end
    support.sleep(0.002)
  end
  for _, call in pairs(calls) do witness.fail("luaflow %s hangs", call.words) end
end

-- What was announced is there; of each flow the newest run is resumed, or it runs once more.
function Crowd:check()
  for _, one in ipairs(self.promises) do
    local run = witness.read(self.at, "store", one.promise.run)
    if not run then witness.fail("run %d was announced and is not there", one.promise.run) end
    if run.flow ~= one.flow.name then
      witness.fail("run %d is of %s, and was of %s", run.id, run.flow, one.flow.name)
    end
    if one.promise.status and run.status ~= one.promise.status then
      witness.fail("run %d was announced as %s and is %s", run.id, one.promise.status, run.status)
    end
    if run.status == "running" then witness.fail("run %d is shown as running, and is not", run.id) end
    one.flow:check_tasks(run, one.promise)
  end
  for _, flow in ipairs(self.flows) do
    support.shell(("cp '%s/%s.lua' '%s/flow.lua'"):format(self.at.dir, flow.name, self.at.dir))
    local newest = support.decode(witness.ask(self.at, "runs", flow.name, "--json", "--store", "store")).runs[1]
    flow:complete(self.at, "store", newest and newest.status ~= "done" and newest)
  end
end

local function new_crowd(at, r, flows, has_verify)
  local self = { at = at, random = r, flows = flows, number = 0, killed = 0, promises = {}, readings = {} }
  for _, words in ipairs(READINGS) do
    if words ~= "verify" or has_verify then self.readings[#self.readings + 1] = words end
  end
  for _, flow in ipairs(flows) do
    flow:bring(at)
    support.shell(("mv '%s/flow.lua' '%s/%s.lua'"):format(at.dir, at.dir, flow.name))
  end
  return setmetatable(self, Crowd)
end

-- Kills readers of a store that a run has open.
local KILL_READERS = [[
cd '%s' && : >wait
env --default-signal=INT LUAFLOW_EXE='%s' '%s' run flow.lua --store store --json >out 2>err </dev/null &
until [ "$(grep -sc '"text":"working"' out)" = 2 ]; do sleep 0.01; kill -0 $! || exit; done
n=0 killed=0
while [ $n -lt %d ]; do
  n=$((n + 1))
  timeout -s KILL 0.00$((n %% 7 + 1)) '%s' dump 1 --json --store store >/dev/null 2>&1
  [ $? = 137 ] && killed=$((killed + 1))
done
'%s' runs --store store >runs 2>&1 || cat runs
kill -INT $!
sleep 0.3
kill -INT $!
wait $!
echo killed $killed
]]

local function kill_readers(at, flow, slow, count)
  flow:bring(at)
  witness.call(at, flow:run_words "store")
  slow:bring(at)
  local command = support.command
  local said = support.shell(KILL_READERS:format(at.dir, command, command, count, command, command))
  local killed = tonumber(said:match "^killed (%d+)$")
  if not killed then witness.fail("readers that were killed are in the way: %s", said) end
  return killed
end

function many.prove(dir, seed, count, report)
  local flows = { witness.new(dir, "small"), witness.new(dir, "wide"), witness.new(dir, "large") }
  local slow = witness.new(dir, "slow")
  local failed, killed, readers = 0, 0, 0
  local has_verify = witness.call(slow.place, { "verify", "--help" }).code == 0
  local at = place.new(dir, "readers")
  local is_well, problem = witness.try(at, function() readers = kill_readers(at, flows[3], slow, count * READERS) end)
  if not is_well then
    failed = failed + 1
    report(seed, problem)
  end
  for case = seed, seed + count - 1 do
    at = place.new(dir, "many" .. case)
    local crowd = new_crowd(at, random.new(case, "many"), flows, has_verify)
    is_well, problem = witness.try(at, function()
      crowd:run()
      crowd:check()
    end)
    killed = killed + crowd.killed
    if not is_well then
      failed = failed + 1
      report(case, problem)
    end
  end
  for _, flow in ipairs(flows) do flow:close() end
  slow:close()
  return failed == 0, ("%d readers killed, then %d crowds of %d calls, %d of these killed, %d broken promises"):format(
    readers, count, CALLS, killed, failed)
end

return many
