--- `luaflow get PATHSPEC/NAME`: one artifact as it is. Host only.
local ffi = require "ffi"

local cli = require "luaflow.cli"
local json = require "luaflow.json"
local pathspec = require "luaflow.pathspec"

local get = { summary = "Writes one artifact: a string's bytes, an FFI array's memory, anything else as JSON." }

function get.declare(parser)
  parser:argument("PATHSPEC/NAME", "the artifact: of a task, of a step with one task, or of a run's last task")
    :argname "PATHSPEC/NAME":target "artifact"
  parser:option("-o --output", "write to this file (default: -, stdout)"):argname "FILE"
end

local PIECE = 1024 * 1024 -- so much of an array's memory is a string at a time

-- Hands the value as it is, in pieces, to `write`, until that fails.
local function write_value(value, write)
  if type(value) == "string" then return write(value) end
  if not json.array_type(value) then return write(json.encode(value) .. "\n") end
  local memory, size = ffi.cast("const char *", value), ffi.sizeof(value)
  for at = 0, size - 1, PIECE do
    local ok, why = write(ffi.string(memory + at, math.min(PIECE, size - at)))
    if not ok then return nil, why end
  end
  return true
end

local function write_file(path, value)
  local file, message = io.open(path, "wb")
  if file == nil then return nil, "cannot write " .. message end
  local ok, why = write_value(value, function(piece) return file:write(piece) end)
  local closed, close_why = file:close()
  if ok and closed then return cli.DONE end
  return nil, ("cannot write %s: %s"):format(path, why or close_why)
end

function get.run(args)
  return cli.with_store(args, function(rt)
    local place, name, code = pathspec.find_artifact(rt, args.artifact)
    if place == nil then return nil, name, code end
    local ok, value
    ok, value, code = pathspec.value(rt, place, name)
    if not ok then return nil, value, code end
    if args.output and args.output ~= "-" then return write_file(args.output, value) end
    write_value(value, function(piece)
      cli.write(piece)
      return true
    end)
    return cli.DONE
  end)
end

return get
