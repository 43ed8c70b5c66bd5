-- An array of `megabytes`. Each mode does one thing more than the one before: make it, store
-- it, read it in the next step.
local ffi = require "ffi"

ffi.cdef [[
  typedef struct bench_time { long seconds, nanoseconds; } bench_time;
  int clock_gettime(int clock, bench_time *time);
]]

local MONOTONIC = 1

local function now()
  local time = ffi.new("bench_time")
  ffi.C.clock_gettime(MONOTONIC, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

return {
  params = {
    megabytes = { default = 256, type = "integer" },
    mode = { default = "make", choices = { "make", "store", "load" } },
  },
  steps = {
    start = { next = "finish", function(self)
      local array = ffi.new("double[?]", self.megabytes * 131072)
      array[self.megabytes * 131072 - 1] = 42
      if self.mode == "make" then self._array = array else self.array = array end
    end },
    finish = function(self)
      if self.mode ~= "load" then return end
      local started = now()
      local array = self.array
      self.seconds = now() - started
      assert(array[self.megabytes * 131072 - 1] == 42)
    end,
  },
}
