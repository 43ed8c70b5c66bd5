-- What a golden store holds: every kind of value, every kind of task. It fails at its end until
-- GOLDEN_GO is set, and so there is something to resume.
local ffi = require "ffi"
local luaflow = require "luaflow"

local Point = {}
Point.__index = Point
luaflow.register("Point", Point)

-- Strings that are stored as 512 bytes and share their key: see tests/crash/collide.c.
local function colliding(variant)
  local function u32(n)
    return string.char(n % 256, math.floor(n / 256) % 256, math.floor(n / 65536) % 256, math.floor(n / 16777216))
  end
  local text = ("x"):rep(5) .. "\124\1\129\44" .. u32(0x10000000 + variant) .. ("x"):rep(56)
  text = text .. "\222\212\109\233" .. u32(0x10000000 - variant)
  return text .. ("x"):rep(509 - #text)
end

return {
  name = "golden",
  params = {
    title = { default = "a store of its time" },
    numbers = { default = "1,2,3", separator = "," },
    tree = { type = "json", default = "{}" },
  },
  steps = {
    start = { next = { "values", "rows" }, function(self)
      self.passed_on = "from the start"
      print "started"
    end },
    values = { next = "join", function(self)
      self.numbers_of_all_kinds = { 0, -1, 0.1, 1 / 0, 2 ^ 53, -2 ^ 53, 1e300 }
      self.minus_zero, self.nan, self.truth = -0.0, 0 / 0, true
      self.wide = { 9223372036854775807LL, 18446744073709551615ULL }
      self.bytes = "\0\255 any bytes \128"
      self.text = "Grüße, 世界"
      self.long = ("a long text "):rep(900)
      self.mixed = { 1, 2, nil, 4, name = "n", [true] = "t", [-3] = { {} } }
      self.point = setmetatable({ x = 1, y = { 2 } }, Point)
      self.block = ffi.new("double[3]", { 0.5, -1, 1e-300 })
      self.small_block = ffi.new("int16_t[2]", { -5, 5 })
      self.twin_a, self.twin_b = colliding(1), colliding(2)
    end },
    rows = { next = "row", foreach = "rows", function(self) self.rows = { "a", "b", "c" } end },
    row = { next = "gather", retry = 2, function(self)
      local attempt = luaflow.current.retry_count
      print("row", self.input, attempt)
      if self.index == 2 and attempt == 0 then error "the first attempt fails" end
      self.row = self.input .. self.index
      self.random = math.random(1, 1000000)
    end },
    gather = { next = "caught", function(self, inputs)
      self.all, self.passed_on = inputs:collect "row", nil
    end },
    caught = { next = "turn", catch = "failure", function() error "caught" end },
    turn = { next = { again = "turn", on = "join" }, switch = "where", function(self)
      self.turns = self:get("turns", 0) + 1
      self.where = self.turns < 3 and "again" or "on"
    end },
    join = { next = "finish", function(self, inputs)
      self:merge_artifacts(inputs, { exclude = { "passed_on" } })
      io.stderr:write "joined\n"
    end },
    finish = function(self)
      if not os.getenv "GOLDEN_GO" then error "not yet" end
      self.finished = self.title
    end,
  },
}
