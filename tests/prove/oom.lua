--- Proves that memory which runs out does no harm: tests/crash/oom.c plays whole runs in which
--- the n-th allocation of ours fails, for every n. Nothing here is left to chance.
--- $OOM names the program (default: that of build/asan); it starts isolated steps with the
--- command beside it.
local oom = {
  name = "oom",
  summary = "each allocation fails once, and with all after it; cases of each kind, at most",
  count = 10000,
}

local here = arg[0]:match("^(.*/)") or "./"
local program = os.getenv "OOM" or here .. "../../build/asan/tests/oom"
local command = program:gsub("tests/[^/]*$", "luaflow")

function oom.prove(_, seed, count, report)
  local out = assert(io.popen(("LUAFLOW_EXE='%s' '%s' --count %d 2>&1"):format(command, program, count)))
  local last
  for line in out:lines() do
    last = line
    print("oom: " .. line)
    io.stdout:flush()
  end
  out:close()
  local cases, failed = (last or ""):match "^(%d+) cases, (%d+) failed$"
  if cases and failed == "0" then return true, cases .. " cases, none failed" end
  report(seed, last or "it says nothing")
  return false, ("%s cases, %s failed"):format(cases or "?", failed or "?")
end

return oom
