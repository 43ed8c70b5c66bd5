-- n trivial tasks, each in a process of its own.
return { params = { n = { default = 1, type = "integer" } }, steps = {
  start  = { next = "work", foreach = "n" },
  work   = { next = "finish", isolate = true, function(self) self.out = self.input * 2 + 0.5 end },
  finish = function(self, inputs) assert(#inputs == self.n) end,
} }
