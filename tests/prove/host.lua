--- Proves that a host which opens, runs and closes for a long time keeps nothing: neither files
--- nor threads nor memory. $HOST_PROGRAM names the test that does it (default: that of
--- build/release).
local host = {
  name = "host",
  summary = "a host that opens, runs and closes keeps no file, thread or memory",
  count = 1000,
}

local here = arg[0]:match("^(.*/)") or "./"
local program = os.getenv "HOST_PROGRAM" or here .. "../../build/release/tests/test_memory"

function host.prove(_, seed, count, report)
  local out = assert(io.popen(("MEMORY_ROUNDS=%d '%s' 2>&1"):format(count, program)))
  local text = out:read "*a"
  out:close()
  local measured = text:match "%d+ rounds: [^\n]*"
  if text:find("[  PASSED  ] 1 test", 1, true) then return true, measured end
  report(seed, text)
  return false, measured or "it ended too early"
end

return host
