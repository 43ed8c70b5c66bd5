--- Proves that pruning takes nothing away that is needed. In a case runs are made, fail and are
--- resumed, while runs are pruned without end, some of the pruning (and some runs) being killed; the
--- values of all runs are much the same, so that what one prunes another has just found there. Then
---   * no run has failed that should not,
---   * the store is sound, and what is done has all its artifacts and logs,
---   * once no run is left, nothing is.
local place = require "place"
local random = require "random"
local support = require "support"

local prune = {
  name = "prune",
  summary = "pruned all the time, with processes killed, runs and what they reuse stay whole",
  count = 100,
}

local FLOW = [[
local function text(n) return ("value %d "):format(n):rep(20 + n * 13 % 300) end
return { name = "Flow", steps = {
  start = { next = "work", foreach = "parts", function(self)
    self.parts = 25
    self.shared = text(100)
  end },
  work = { next = "more", function(self)
    print(("line of %d "):format(self.index):rep(30))
    self.value = text(self.index % 9)
    self.list = { self.index, text(self.index) }
  end },
  more = { next = "join", retry = 1, function(self)
    local current = require("luaflow").current
    if self.index == 9 and current.retry_count == 0 then error "again" end
    if self.index == 17 and os.getenv "BROKEN" then error "broken" end
    self.size = #self.value + #self.list[2]
    self.late = text(200 + self.index)
  end },
  join = { next = "finish", function(self, inputs)
    self:merge_artifacts(inputs, { include = { "shared" } })
    self.sizes = inputs:collect "size"
    self.values = inputs:collect "value"
  end },
  finish = { function(self) self.sum = #self.shared end },
} }
]]

local function fail(text, ...) error({ difference = text:format(...) }, 0) end

local function ask(at, ...)
  local result = at:call { ... }
  if result.code == 0 then return result.out end
  fail("luaflow %s: exit code %s\n%s%s", table.concat({ ... }, " "), result.code, result.out, result.err)
end

-- path → artifacts of a run, as text; its logs, sorted.
local function look(at, run)
  local tasks = {}
  local dump = ask(at, "dump", run, "--json", "--store", "store")
  for path, artifacts in dump:gmatch '"path":"([^"]*)","status":"done","artifacts":(%b{})' do
    tasks[path] = artifacts
  end
  local lines = {}
  for line in ask(at, "logs", run, "--store", "store"):gmatch "[^\n]+" do lines[#lines + 1] = line end
  table.sort(lines)
  return tasks, table.concat(lines, "\n")
end

local function check_same(run, tasks, log, wanted)
  for path, artifacts in pairs(wanted.tasks) do
    if tasks[path] ~= artifacts then
      fail("run %d: task %s has %s instead of %s", run, path, tostring(tasks[path]), artifacts)
    end
  end
  if log ~= wanted.log then fail("run %d: its log is not what it should be:\n%s", run, log) end
end

-- ---- what goes on at the same time, as lines of shell -----------------------------------------

-- Writes down the exit codes that a call may not have. `seconds` (or nil): when it is killed.
local function line(allowed, words, seconds, environment)
  local kill = seconds and ("timeout -s KILL %.3f "):format(seconds) or "timeout -s ABRT 30 "
  local codes = seconds and allowed .. "|137" or allowed
  local call = ("%s %s$LUAFLOW %s --store store >out.$$ 2>&1; code=$?\n"):format(environment or "", kill, words)
  local tell = ("{ echo '%s: exit code' $code; cat out.$$; } >>wrong"):format(words)
  return ("%scase $code in %s) ;; *) %s ;; esac"):format(call, codes, tell)
end

local function actor(lines) return "sh -c '" .. table.concat(lines, "\n"):gsub("'", [['\'']]) .. "\n'" end

local function runner(chance)
  local lines = {}
  for _ = 1, chance:between(2, 4) do
    local seconds = chance:chance(0.25) and chance:between(10, 200) / 1000 or nil
    if chance:chance(0.6) then
      lines[#lines + 1] = line("1", "run flow.lua --quiet --run-id-file id.$$", seconds, "BROKEN=1")
      -- What it goes on with may be gone by now.
      lines[#lines + 1] = line("0|2", "resume flow.lua --quiet --origin-run-id $(cat id.$$ 2>/dev/null)")
    else
      lines[#lines + 1] = line("0", "run flow.lua --quiet", seconds)
    end
  end
  return actor(lines)
end

local function pruner(chance)
  local lines = {}
  for _ = 1, chance:between(8, 20) do
    local seconds = chance:chance(0.5) and chance:between(5, 40) / 1000 or nil
    lines[#lines + 1] = line("0|3", ("prune --keep %d"):format(chance:between(0, 2)), seconds)
  end
  return actor(lines)
end

local function prove_one(at, chance, wanted)
  at:write("flow.lua", FLOW)
  ask(at, "run", "flow.lua", "--quiet", "--store", "store")
  local actors = { pruner(chance) }
  for _ = 1, chance:between(1, 3) do actors[#actors + 1] = runner(chance) end
  if chance:chance(0.3) then actors[#actors + 1] = pruner(chance) end
  at:write("all.sh", table.concat(actors, " &\n") .. " &\nwait\n")
  support.shell(("cd '%s' && LUAFLOW='%s' sh all.sh"):format(at.dir, support.command))
  at:note "sh all.sh"
  local wrong = at:read "wrong"
  if wrong then fail("%s", wrong) end
  local verified = at:call { "verify", "--store", "store" }
  if verified.code ~= 0 then fail("verify:\n%s%s", verified.out, verified.err) end
  local runs = support.decode(ask(at, "runs", "--json", "--store", "store")).runs
  for _, run in ipairs(runs) do
    local tasks, log = look(at, run.id)
    if run.status == "running" then fail("run %d still runs", run.id) end
    if run.status == "done" then check_same(run.id, tasks, log, wanted) end
  end
  ask(at, "prune", "--keep", "0", "--store", "store")
  local rest = support.decode(ask(at, "verify", "--json", "--store", "store"))
  if rest.runs > 0 or rest.bytes > 200 then fail("%d bytes are left when no run is", rest.bytes) end
  return #runs
end

function prune.prove(dir, seed, count, report)
  local sound = place.new(dir, "sound")
  sound:write("flow.lua", FLOW)
  ask(sound, "run", "flow.lua", "--quiet", "--store", "store")
  local wanted = {}
  wanted.tasks, wanted.log = look(sound, 1)
  local n_failed, n_runs = 0, 0
  for case = seed, seed + count - 1 do
    local at = place.new(dir, "case" .. case)
    local ok, found = pcall(prove_one, at, random.new(case, "prune"), wanted)
    if ok then
      n_runs = n_runs + found
      at:remove()
    else
      n_failed = n_failed + 1
      report(case, (type(found) == "table" and found.difference or tostring(found)) .. "\n" .. at:history())
    end
  end
  sound:remove()
  return n_failed == 0, ("%d runs outlived the pruning of %d stores, %d failed"):format(n_runs, count, n_failed)
end

return prune
