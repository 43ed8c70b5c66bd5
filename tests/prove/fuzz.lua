--- Proves that hostile bytes harm nobody who reads them: libFuzzer runs each target of tests/fuzz
--- under AddressSanitizer and UndefinedBehaviorSanitizer, the decoder of values ten times as long.
--- $FUZZ names where the targets are (default: build/fuzz/fuzz).
local support = require "support"

local fuzz = {
  name = "fuzz",
  summary = "bytes that somebody else made harm nobody who reads them; runs of each target",
  count = 1000000,
}

local TARGETS = { "codec", "record", "frame", "graph", "params", "values", "flow", "json", "pathspec" }
local TIMES = { codec = 10 }
local LONGEST = 1024 -- bytes

local here = arg[0]:match("^(.*/)") or "./"
local programs = os.getenv "FUZZ" or here .. "../../build/fuzz/fuzz"
local sources = here .. "../fuzz/"

local function is_there(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

--- What a log of libFuzzer says went wrong.
local function problem_of(log)
  return log:match "[^\n]*does not hold" or log:match "a Lua error: [^\n]*" or log:match "[^\n]*runtime error[^\n]*"
    or log:match "SUMMARY: ([^\n]*)" or "it ended too early"
end

--- @return number runs, string? problem
local function run(name, dir, seed, count)
  local own, log = ("%s/%s"):format(dir, name), ("%s/%s.log"):format(dir, name)
  local dictionary = sources .. name .. ".dict"
  local with = is_there(dictionary) and "-dict='" .. dictionary .. "'" or ""
  local status = os.execute(("mkdir -p '%s' && "):format(own)
    .. ("'%s/fuzz_%s' -runs=%d -seed=%d -max_len=%d "):format(programs, name, count, seed % (2^32 - 1) + 1, LONGEST)
    .. ("-timeout=60 -detect_leaks=0 -print_final_stats=1 %s -artifact_prefix='%s-' "):format(with, own)
    .. ("'%s' '%scorpus/%s' >'%s' 2>&1"):format(own, sources, name, log))
  local said = read(log)
  local runs = tonumber(said:match "number_of_executed_units: (%d+)") or 0
  if status ~= 0 then return runs, problem_of(said) end
  support.shell(("rm -rf '%s' '%s'"):format(own, log))
  return runs
end

function fuzz.prove(dir, seed, count, report)
  local total, problems = 0, 0
  for _, name in ipairs(TARGETS) do
    local runs, problem = run(name, dir, seed, count * (TIMES[name] or 1))
    total = total + runs
    print(("fuzz: %s: %d runs, %s"):format(name, runs, problem or "all well"))
    io.stdout:flush()
    if problem then
      problems = problems + 1
      report(seed, ("%s: %s (the bytes are %s/%s-*)"):format(name, problem, dir, name))
    end
  end
  return problems == 0, ("%d runs of %d targets, %d problems"):format(total, #TARGETS, problems)
end

return fuzz
