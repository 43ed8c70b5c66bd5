--- Clocks for what is measured from inside a step. Runs anywhere.
local ffi = require "ffi"

ffi.cdef [[
  typedef struct bench_time { long seconds, nanoseconds; } bench_time;
  int clock_gettime(int clock, bench_time *time);
]]

local MONOTONIC, THREAD = 1, 3 -- the second is the processor's time for this thread
local TURNS = 1000             -- between two looks at it

local clock = {}

local time = ffi.new("bench_time")

local function read(which)
  ffi.C.clock_gettime(which, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

function clock.now() return read(MONOTONIC) end

--- Seconds that a processor spent on this thread.
function clock.spent() return read(THREAD) end

--- Computes something for so many seconds of a processor; returns how many it were.
function clock.spin(seconds)
  local started, spent, x = read(THREAD), 0, 0.5
  while spent < seconds do
    for _ = 1, TURNS do x = x * 3.9 * (1 - x) end
    spent = read(THREAD) - started
  end
  assert(x == x)
  return spent
end

return clock
