--- An installed tree, below a prefix of its own, and what its users do with it. For the tests here.
--- $LUAFLOW_BUILD names the build directory; $CC and $CXX the compilers.
local support = require "support"

local tree = {}

tree.build = assert(os.getenv("LUAFLOW_BUILD"), "set LUAFLOW_BUILD to the build directory")
tree.cc, tree.cxx = os.getenv("CC") or "cc", os.getenv("CXX")

--- Runs a shell command in the directory of `w`, insists on its success, and gives what it prints.
function tree.sh(w, command)
  local log = w.dir .. "/.log"
  local status = os.execute(("cd '%s' && (set -e; %s) >'%s' 2>&1 </dev/null"):format(w.dir, command, log))
  local text = w:read(log)
  if status ~= 0 then error(("this failed: %s\n%s"):format(command, text), 2) end
  return (text:gsub("\n$", ""))
end

--- Installs the build below a prefix in the directory of `w`. Gives the prefix.
function tree.install(w)
  local prefix = w.dir .. "/prefix"
  tree.sh(w, ("cmake --install '%s' --prefix '%s'"):format(tree.build, prefix))
  return prefix
end

--- The one file below `directory` with this name, as a path.
function tree.find(w, directory, name)
  local found = w:shell(("find '%s' -name '%s'"):format(directory, name))
  support.matches(found, "^[^\n]+$", name .. " in " .. directory)
  return found
end

--- The directory a path is in.
function tree.directory(path) return (path:gsub("/[^/]*$", "")) end

--- A shell's words for a call of `program` as if nothing told it where luaflow is.
function tree.plainly(program)
  return "env -u LUAFLOW_EXE -u LUAFLOW_STORE -u LD_LIBRARY_PATH -u LUA_CPATH -u LUA_PATH " .. program
end

return tree
