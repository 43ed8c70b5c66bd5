--- Proves that the tests pass with few workers and with many, under AddressSanitizer, under
--- ThreadSanitizer and under valgrind. Nothing here is left to chance.
--- $SUITE names the directory of the builds asan, tsan and dev (default: build).
local support = require "support"

local suite = {
  name = "suite",
  summary = "the tests, with 1, 4 and 16 workers, under AddressSanitizer, ThreadSanitizer and valgrind",
  count = 3,
}

local WORKERS = { 1, 4, 16 }
local here = arg[0]:match("^(.*/)") or "./"
local builds = os.getenv "SUITE" or here .. "../../build"

-- They kill children in large numbers, limit their address space, start them from this program, or
-- look at memory and at threads, which are valgrind's.
local NOT_UNDER_VALGRIND = "pool isolate store verify memory guest"
-- Flows of every shape; what has a `timeout` would come to it.
local FLOWS = "graph joins artifacts"

-- Leaks are AddressSanitizer's.
local VALGRIND = "valgrind -q --error-exitcode=99 --child-silent-after-fork=yes"

local function is_among(word, words)
  return (" " .. words .. " "):find(" " .. word .. " ", 1, true) ~= nil
end

--- Runs a line of shell; what it says goes to `log`.
local function succeeds(line, log)
  return os.execute(("%s >'%s' 2>&1 </dev/null"):format(line, log)) == 0
end

--- The tests of a label, as ctest counts them.
--- @return number? passed, number? failed
local function run_tests(preset, label, workers, log)
  succeeds(("LUAFLOW_TEST_WORKERS=%d ctest --test-dir '%s/%s' -L '^%s$' -j 2 --output-on-failure"):format(
    workers, builds, preset, label), log)
  local said = assert(io.open(log)):read "*a"
  local failed, all = said:match "(%d+) tests failed out of (%d+)"
  if not failed then return nil end
  return all - failed, tonumber(failed)
end

local Suite = {}
Suite.__index = Suite

function Suite:note(what, passed, failed, log)
  print(("suite: %s: %s"):format(what, passed and ("%d passed, %d failed"):format(passed, failed) or "did not run"))
  io.stdout:flush()
  self.passed = self.passed + (passed or 0)
  self.failed = self.failed + (failed or 1)
  if failed == 0 then
    os.remove(log)
  else
    self.report(self.seed, ("%s (what it said is in %s)"):format(what, log))
  end
end

function Suite:sanitized(preset)
  local log = ("%s/%s-unit.log"):format(self.dir, preset)
  local passed, failed = run_tests(preset, "unit", 1, log)
  self:note(preset .. ", unit", passed, failed, log)
  for i = 1, math.min(self.count, #WORKERS) do
    log = ("%s/%s-flows-%d.log"):format(self.dir, preset, WORKERS[i])
    passed, failed = run_tests(preset, "flows", WORKERS[i], log)
    self:note(("%s, flows, %d workers"):format(preset, WORKERS[i]), passed, failed, log)
  end
end

function Suite:valgrind()
  local programs = support.shell(("ls '%s/dev/tests'"):format(builds))
  for room in programs:gmatch "test_([%w_]+)" do
    if not is_among(room, NOT_UNDER_VALGRIND) then
      local log = ("%s/valgrind-%s.log"):format(self.dir, room)
      local is_well = succeeds(("timeout -s KILL 900 %s '%s/dev/tests/test_%s'"):format(VALGRIND, builds, room), log)
      self:note("valgrind, unit/" .. room, is_well and 1 or 0, is_well and 0 or 1, log)
    end
  end
  local command = self.dir .. "/luaflow"
  local file = assert(io.open(command, "w"))
  file:write(("#!/bin/sh\nexport LUAFLOW_EXE='%s/dev/luaflow'\nexec %s '%s/dev/luaflow' \"$@\"\n"):format(builds,
    VALGRIND, builds))
  file:close()
  support.shell(("chmod +x '%s'"):format(command))
  for name in FLOWS:gmatch "%w+" do
    local log = ("%s/valgrind-flows-%s.log"):format(self.dir, name)
    local line = "LUAFLOW_TEST_PATIENCE=10 LUAFLOW_TEST_WORKERS=4 LUAFLOW='%s' luajit '%s../flows/test_%s.lua'"
    local is_well = succeeds(line:format(command, here, name), log)
    self:note("valgrind, flows/" .. name, is_well and 1 or 0, is_well and 0 or 1, log)
  end
  os.remove(command)
end

function suite.prove(dir, seed, count, report)
  local self = setmetatable({ dir = dir, seed = seed, count = count, report = report, passed = 0, failed = 0 }, Suite)
  self:sanitized "asan"
  self:sanitized "tsan"
  self:valgrind()
  return self.failed == 0, ("%d passed, %d failed"):format(self.passed, self.failed)
end

return suite
