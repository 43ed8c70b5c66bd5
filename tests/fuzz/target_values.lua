--- Any value comes back from its bytes as it was, or is refused with its path.
local fuzz = require "fuzz"
local values = fuzz.values

local target = {}

values.has_any_nans = true

function target.value(value)
  local bytes, message = fuzz.encode(value)
  if not bytes then
    assert(message:find("^artifact 'value' cannot be stored: value"), message)
    return
  end
  local back = fuzz.decode(bytes)
  assert(values.same(value, back), "another value came back")
  assert(values.has_settled_nans(back), "a NaN that is not the one")
  assert(fuzz.encode(back) == bytes, "other bytes of the same value")
end

return target
