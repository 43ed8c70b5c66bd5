-- What goes wrong may go right the next time. Three attributes say what is to happen then:
--
--   retry    the step runs again, here up to two times, after 0.1 s and then after 0.2 s
--   timeout  an attempt that takes longer fails, even one that would never come to an end
--   catch    when the last attempt has failed too, the task counts as done all the same. What
--            went wrong is the one artifact it leaves, under the name given here
--
-- The four stations below are asked nine times in all, and the run succeeds. Without `catch`
-- it would fail, and could be gone on with by `luaflow resume flows/retry.lua`: the stations that
-- had answered would not be asked again.
local luaflow = require "luaflow"

local stations = {}

function stations.Oslo() return -3 end

function stations.Quito(attempt)
  if attempt == 1 then error("the line is bad", 0) end
  return 14
end

function stations.Lima()
  while true do end -- never answers
end

return {
  doc   = "Asks stations for their temperature, some of which do not answer.",
  steps = {
    start = { next = "ask", foreach = "names", function(self)
      self.names = { "Oslo", "Quito", "Atlantis", "Lima" }
    end },

    ask = {
      next    = "report",
      retry   = { times = 2, delay = 0.1, backoff = 2 },
      timeout = 0.5,
      catch   = "failure",
      function(self)
        local ask = stations[self.input]
        if not ask then error("nobody is there", 0) end
        self.attempt = luaflow.current.retry_count + 1
        self.degrees = ask(self.attempt)
      end,
    },

    report = function(self, inputs)
      for i, station in ipairs(inputs) do
        local name, failure = station.names[i], station:get("failure")
        if failure then
          print(("%s: %s, tried %d times"):format(name, failure.message, failure.attempts))
        else
          print(("%s: %d degrees, at attempt %d"):format(name, station.degrees, station.attempt))
        end
      end
    end,
  },
}
