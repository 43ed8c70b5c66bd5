--- Chance that can be repeated: a stream of numbers from a seed, independent of math.random.
local bit = require "bit"

local random = {}

local Random = {}
Random.__index = Random

--- A stream of its own for `seed`, a whole number, and `purpose`, a string.
function random.new(seed, purpose)
  local state = 2166136261
  for c in (purpose .. seed):gmatch "." do
    state = (bit.bxor(state, c:byte()) % 2^32 * 65599 + 1) % 2^32
  end
  local self = setmetatable({ state = bit.bor(state, 1) }, Random)
  for _ = 1, 8 do self:next() end
  return self
end

function Random:next()
  local x = self.state
  x = bit.bxor(x, bit.lshift(x, 13))
  x = bit.bxor(x, bit.rshift(x, 17))
  self.state = bit.bxor(x, bit.lshift(x, 5))
  return self.state % 2^32
end

--- From 0 up to 1, never 1.
function Random:fraction() return self:next() / 2^32 end

--- A whole number from `low` to `high`.
function Random:between(low, high) return low + self:next() % (high - low + 1) end

function Random:chance(likelihood) return self:fraction() < likelihood end

function Random:pick(list) return list[self:between(1, #list)] end

--- A key of `weights` (key → weight), the heavier the likelier.
function Random:weighted(weights)
  local keys, sum = {}, 0
  for key, weight in pairs(weights) do
    keys[#keys + 1] = key
    sum = sum + weight
  end
  table.sort(keys)
  local left = self:fraction() * sum
  for _, key in ipairs(keys) do
    left = left - weights[key]
    if left < 0 then return key end
  end
  return keys[#keys]
end

return random
