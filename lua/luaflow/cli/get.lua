--- `luaflow get PATHSPEC/NAME`: one artifact as it is. Host only.
local ffi = require "ffi"

local cli = require "luaflow.cli"
local core = require "luaflow.core"
local json = require "luaflow.json"
local pathspec = require "luaflow.pathspec"

local get = { summary = "Writes one artifact: a string's bytes, an FFI array's memory, anything else as JSON." }

function get.declare(parser)
  parser:argument("PATHSPEC/NAME", "the artifact: of a task, of a step with one task, or of a run's last task")
    :argname "PATHSPEC/NAME":target "artifact"
  parser:option("-o --output", "write to this file (default: -, stdout)"):argname "FILE"
end

local function as_it_is(value)
  if type(value) == "string" then return value end
  if json.array_type(value) then return ffi.string(value, ffi.sizeof(value)) end
  return json.encode(value) .. "\n"
end

local function write_file(path, text)
  local file, message = io.open(path, "wb")
  if file == nil then return nil, "cannot write " .. message end
  local ok, why = file:write(text)
  local closed, close_why = file:close()
  if ok and closed then return cli.DONE end
  return nil, ("cannot write %s: %s"):format(path, why or close_why)
end

function get.run(args)
  return cli.with_store(args, function(rt)
    local place, name, code = pathspec.find_artifact(rt, args.artifact)
    if place == nil then return nil, name, code end
    local bytes, ok, value, message
    bytes, message, code = pathspec.bytes(rt, place, name)
    if bytes == nil then return nil, message, code end
    ok, value, code = core.decode_marked(bytes)
    if not ok then return nil, value, code end
    if args.output and args.output ~= "-" then return write_file(args.output, as_it_is(value)) end
    cli.write(as_it_is(value))
    return cli.DONE
  end)
end

return get
