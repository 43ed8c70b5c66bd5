--- `luaflow version`. Host only.
local cli = require "luaflow.cli"
local core = require "luaflow.core"

local version = { summary = "Shows the versions of luaflow and its libraries." }

function version.declare() end

function version.run()
  cli.write(core.versions():gsub("\n*$", "\n", 1))
  return cli.DONE
end

return version
