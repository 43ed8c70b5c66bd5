-- A switch goes one way out of several, chosen while the flow runs.
--
-- `switch` names the artifact to look at, `next` maps its values to steps. The other steps never
-- run, and nothing has to be joined. Try:
--
--     luaflow run flows/switch.lua --n 7
--     luaflow run flows/switch.lua --n 70000
return {
  doc    = "Treats small, middling and large numbers differently.",
  params = {
    n = { default = 42, type = "integer", help = "the number to look at" },
  },
  steps = {
    start = {
      next   = { small = "count", middling = "estimate", large = "estimate" },
      switch = "size",
      function(self)
        self.size = self.n < 10 and "small" or self.n < 1000 and "middling" or "large"
      end,
    },

    count = { next = "finish", function(self)
      self.answer = ("%d exactly"):format(self.n)
    end },

    estimate = { next = "finish", function(self)
      self.answer = ("about 10 to the %d"):format(math.floor(math.log10(self.n) + 0.5))
    end },

    finish = function(self)
      print(("%d is %s: %s"):format(self.n, self.size, self.answer))
    end,
  },
}
