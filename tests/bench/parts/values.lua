--- Values: what it takes to write and to read them, beside others who do that for Lua; and that what
--- nobody reads is not decoded.
local kit = require "kit"

-- In the order of codecs.lua. LuaJIT's own is neither canonical nor safe on hostile bytes.
local CODECS = { "luaflow", "lua-cjson", "lua-MessagePack", "string.buffer" }
local VALUES = { { "small", "a table of 5 fields" }, { "nested", "a table of 10,000 entries" } }

local function measure_codecs(figures)
  for _, value in ipairs(VALUES) do
    local seconds = { kit.script("codecs.lua", value[1]) } -- encode, decode, of each codec in turn
    for i, verb in ipairs { "encode", "decode" } do
      for c = 2, #CODECS do
        figures:add {
          name = ("%s %s, beside %s"):format(verb, value[2], CODECS[c]), unit = "s",
          ours = seconds[i], limit = seconds[2 * (c - 1) + i],
          aim = c < #CODECS and { ratio_at_most = 1 } or nil,
        }
      end
    end
  end
end

local function measure_touch(figures)
  local seconds = {}
  kit.fresh_store()
  for _, big in ipairs { "true", "false" } do
    kit.run("touch.lua", "--big", big)
    seconds[big] = kit.get "last/finish/seconds"
  end
  figures:add {
    name = "a number of each of 1,000 inputs, beside such without large tables", unit = "s",
    ours = seconds["true"], limit = seconds["false"], aim = { ratio_at_most = 2 },
  }
end

return {
  name = "values",
  summary = "encode and decode beside lua-cjson, lua-MessagePack and string.buffer; reading one of many",
  measure = function(figures)
    measure_codecs(figures)
    measure_touch(figures)
  end,
}
