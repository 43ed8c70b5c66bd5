-- Two steps, one in a process of its own, that take their time while a file `wait` is there.
local ffi = require "ffi"
ffi.cdef [[ int usleep(unsigned int microseconds); ]]

local TOO_LONG = 30e6 -- microseconds

local function is_to_wait()
  local file = io.open "wait"
  return file and file:close()
end

local function work(self)
  print "working"
  if is_to_wait() then ffi.C.usleep(TOO_LONG) end
  self.done = true
end

return {
  name = "slow",
  steps = {
    start = { next = { "inside", "apart" } },
    inside = { next = "join", work },
    apart = { next = "join", isolate = true, work },
    join = { next = "finish", function(self, inputs) self.all = inputs:collect "done" end },
    finish = {},
  },
}
