-- Steps in processes of their own, that are tried again and wait.
local ffi = require "ffi"
ffi.cdef [[ int usleep(unsigned int microseconds); ]]

return {
  name = "apart",
  steps = {
    start = { next = "work", foreach = "n", function(self) self.n = 4 end },
    work = { next = "join", isolate = true, retry = { times = 1, delay = 0.02 }, function(self)
      ffi.C.usleep(20000)
      print("work", self.input)
      if self.input == 2 and require("luaflow").current.retry_count == 0 then error "the first attempt" end
      self.x = ("x"):rep(self.input * 2000)
    end },
    join = { next = "finish", function(self, inputs) self.all = inputs:collect "x" end },
    finish = { timeout = 20, function(self) self.n = #self.all end },
  },
}
