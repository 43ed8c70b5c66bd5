--- A directory of its own for each test of what a host does, with a store and flow files; for
--- specs. Programs run in plain luajit, as a host that knows nothing of this source tree.
local luaflow = require "luaflow"

local hosted = {}

hosted.module = assert(package.searchpath("luaflow", package.cpath))

hosted.QUICK = [[return { name = "Quick", params = { word = { default = "hello" } }, steps = {
  start = { next = "finish", function(self) print(self.word); self.said = self.word end },
  finish = function() end } }]]

-- Its first step ends when the file `go` is there.
hosted.HELD = [[return { name = "Held", steps = {
  start = { next = "finish", function(self)
    while not io.open(%q) do os.execute("sleep 0.01") end
    self.held = true
  end },
  finish = function() end } }]]

local directory

--- To be called before each test and after it.
function hosted.enter()
  directory = os.tmpname()
  os.remove(directory)
  assert(os.execute("mkdir " .. directory) == 0)
  luaflow.use(hosted.path "store")
end

function hosted.leave()
  luaflow.use(nil)
  os.execute("rm -r " .. directory)
end

--- The path of something in the test's directory.
function hosted.path(name) return directory .. "/" .. name end

--- Writes a file; gives its path.
function hosted.write(name, text)
  local file = assert(io.open(hosted.path(name), "w"))
  file:write(text)
  file:close()
  return hosted.path(name)
end

function hosted.flow(source) return hosted.write("flow.lua", source) end
function hosted.held() return hosted.flow(hosted.HELD:format(hosted.path "go")) end
function hosted.let_go() hosted.write("go", "") end

--- Runs Lua in plain luajit, which finds the module only; `command` may have a %s for it.
--- @return string output, number exit_code
function hosted.program(source, command)
  local script = hosted.write("program.lua", source)
  local modules = hosted.module:match("^.*/") .. "?.so"
  local clean = ("cd %s; unset LUA_PATH LUAFLOW_STORE; export LUA_CPATH='%s'; "):format(directory, modules)
  local pipe = assert(io.popen(clean .. "(" .. (command or "luajit %s"):format(script) .. ") 2>&1; echo $?"))
  local text = pipe:read("*a")
  pipe:close()
  local output, code = text:match("^(.-)(%d+)\n$")
  return output, tonumber(code)
end

--- What an error says, without where; that where is a line of the file that called.
function hosted.refusal(call)
  local ok, message = pcall(call)
  assert(not ok, "it was not refused")
  local place, text = message:match("^(%S+_spec.lua:%d+): (.*)$")
  assert(place, "it blames another line: " .. message)
  return text
end

return hosted
