local params = require "luaflow.params"
local ffi = require "ffi"

ffi.cdef [[int setenv(const char *name, const char *value, int overwrite); int unsetenv(const char *name);]]

local function text_of(name, text) return { name = name, text = text } end
local function value_of(name, value) return { name = name, value = value } end

--- What parameter `x` with `spec` is when it is given `text`.
local function read(spec, text)
  spec.name = "x"
  local values, message = params.resolve({ spec }, {}, { text_of("x", text) })
  return values and values.x, message
end

local function refuses(kind, texts, message)
  for _, text in ipairs(texts) do
    local value, why = read({ type = kind }, text)
    assert.is_nil(value)
    assert.equal(message:format(text), why)
  end
end

describe("a text", function()
  it("is a string as it is", function()
    assert.equal("", read({ type = "string" }, ""))
    assert.equal(" 5 ", read({ type = "string" }, " 5 "))
  end)

  it("is a number, decimal or hexadecimal, with an exponent or not", function()
    for text, value in pairs { ["5"] = 5, ["-0.5"] = -0.5, ["+3"] = 3, [".5"] = .5, ["5."] = 5, ["1e3"] = 1000,
      ["1.5E-3"] = 0.0015, ["0x10"] = 16, ["-0XfF"] = -255, ["007"] = 7 } do
      assert.equal(value, read({ type = "number" }, text))
    end
    refuses("number", { "", " ", "5 ", "5x", "0x", "e5", ".", "-", "1e", "1.2.3", "nan", "inf", "-inf", "1e999", "5-3",
      "0b11", "5LL", "0x1p4" }, "parameter 'x' takes a number, not '%s' (--x)")
  end)

  it("is an integer up to 2^53", function()
    assert.equal(2^53, read({ type = "integer" }, "9007199254740992"))
    assert.equal(-2^53, read({ type = "integer" }, "-9007199254740992"))
    assert.equal(1000, read({ type = "integer" }, "1e3"))
    for text, value in pairs { ["0x20000000000000"] = 2^53, ["-0xFf"] = -255, ["0x0"] = 0, ["+007"] = 7, ["0"] = 0,
      ["0.00"] = 0, ["2500e-2"] = 25, ["0.5e+1"] = 5, ["100.0"] = 100, ["9007199254740991.0"] = 2^53 - 1 } do
      assert.equal(value, read({ type = "integer" }, text))
    end
    refuses("integer", { "1.5", "x", "", "1e-3", "0x", "1e999" }, "parameter 'x' takes an integer, not '%s' (--x)")
  end)

  it("is no integer when it would be rounded to one", function()
    refuses("integer", { "9007199254740993", "-9007199254740993", "9007199254740994", "9007199254740992.5", "1e16",
      "0x20000000000001", "1.00000000000000000001", "1e-400", "9007199254740993e0", "1e300" },
      "parameter 'x' takes an integer, not '%s': only whole numbers up to 2^53 are kept exactly (--x)")
  end)

  it("is a boolean in any case", function()
    for _, text in ipairs { "true", "TRUE", "yes", "Yes", "1" } do assert.is_true(read({ type = "boolean" }, text)) end
    for _, text in ipairs { "false", "False", "no", "NO", "0" } do assert.is_false(read({ type = "boolean" }, text)) end
    refuses("boolean", { "", "on", "2", "tru" },
      "parameter 'x' takes a boolean (true, false, yes, no, 1 or 0), not '%s' (--x)")
  end)

  it("is JSON", function()
    assert.same({ a = { 1, 2, { b = "x" } } }, read({ type = "json" }, '{"a":[1,2,{"b":"x"}]}'))
    assert.equal(5, read({ type = "json" }, "5"))
    assert.is_false(read({ type = "json" }, "false"))
    local value, why = read({ type = "json" }, "{a}")
    assert.is_nil(value)
    assert.matches("^parameter 'x' takes a json value, not '{a}': expected .* %(%-%-x%)$", why)
  end)

  it("has nil where JSON has null", function()
    assert.same({ { a = 1, b = false } }, { read({ type = "json" }, '{"a":1,"b":false,"c":null}') })
    assert.same({ 1, nil, 3 }, read({ type = "json" }, "[1,null,3]"))
    local values = params.resolve({ { name = "x", type = "json", default = { 1 } } }, {}, { text_of("x", "null") })
    assert.same({}, values)
  end)

  it("is the path of a file, whose content is the value", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write("a\0b\n")
    file:close()
    assert.equal("a\0b\n", read({ type = "file" }, path))
    os.remove(path)
    local value, why = read({ type = "file" }, path)
    assert.is_nil(value)
    assert.equal(("parameter 'x' takes a file (the path of one), not '%s': %s: No such file or directory (--x)")
      :format(path, path), why)
    value, why = read({ type = "file" }, "/")
    assert.is_nil(value)
    assert.equal("parameter 'x' takes a file (the path of one), not '/': /: Is a directory (--x)", why)
  end)

  it("is shortened in a message when it is long", function()
    local _, why = read({ type = "number" }, ("y"):rep(1000))
    assert.equal(("parameter 'x' takes a number, not '%s…' (--x)"):format(("y"):rep(60)), why)
  end)
end)

describe("a list", function()
  it("is split at its separator, and each element has the type", function()
    assert.same({ "a", "", "b" }, read({ type = "string", separator = "," }, "a,,b"))
    assert.same({ 1, 2.5 }, read({ type = "number", separator = "--" }, "1--2.5"))
    assert.same({ true, false }, read({ type = "boolean", separator = ";" }, "yes;no"))
    assert.same({ "a.b" }, read({ type = "string", separator = "%." }, "a.b"))
    assert.same({}, read({ type = "string", separator = "," }, ""))
  end)

  it("is refused for one element", function()
    local _, why = read({ type = "integer", separator = "," }, "1,x")
    assert.equal("parameter 'x' takes a list of integer values separated by ',', not 'x' (--x)", why)
  end)

  it("may be given as one", function()
    local spec = { name = "x", type = "number", separator = "," }
    assert.same({ x = { 1, 2 } }, params.resolve({ spec }, {}, { value_of("x", { 1, 2 }) }))
    local _, why = params.resolve({ spec }, {}, { value_of("x", { 1, k = 2 }) })
    assert.equal("parameter 'x' takes a list of number values separated by ',', not a table: it is not a list (--x)",
      why)
  end)
end)

describe("choices", function()
  it("allow only these", function()
    assert.equal("low", read({ type = "string", choices = { "low", "high" } }, "low"))
    assert.equal(2, read({ type = "number", choices = { 1, 2 } }, "2.0"))
    local _, why = read({ type = "string", choices = { "low", "high" } }, "mid")
    assert.equal("parameter 'x' takes a string, not 'mid': the choices are low, high (--x)", why)
  end)

  it("hold for every element of a list", function()
    local spec = { type = "string", separator = ",", choices = { "a", "b" } }
    assert.same({ "b", "a" }, read(spec, "b,a"))
    local _, why = read(spec, "a,c")
    assert.equal("parameter 'x' takes a list of string values separated by ',', not 'c': the choices are a, b (--x)",
      why)
  end)
end)

describe("a value", function()
  local function give(kind, value)
    local values, why = params.resolve({ { name = "x", type = kind } }, {}, { value_of("x", value) })
    return values and values.x, why
  end

  it("keeps its type", function()
    assert.equal(5, give("number", 5))
    assert.equal(true, give("boolean", true))
    assert.same({ 1 }, give("json", { 1 }))
  end)

  it("may be text for any type", function() assert.equal(5, give("integer", "5")) end)

  it("of another type is refused", function()
    for message, case in pairs {
      ["parameter 'x' takes a string, not 5 (--x)"] = { "string", 5 },
      ["parameter 'x' takes a number, not a table (--x)"] = { "number", {} },
      ["parameter 'x' takes an integer, not 1.5 (--x)"] = { "integer", 1.5 },
    } do
      local value, why = give(case[1], case[2])
      assert.is_nil(value)
      assert.equal(message, why)
    end
  end)
end)

describe("the parameters of a run", function()
  local specs = { { name = "alpha_beta", type = "number", default = 2 }, { name = "gamma", type = "string" } }

  it("have their defaults, and are absent without", function()
    assert.same({ alpha_beta = 2 }, params.resolve(specs, {}, {}))
  end)

  it("are named with - or _", function()
    assert.same({ alpha_beta = 1, gamma = "x" },
      params.resolve(specs, {}, { text_of("alpha-beta", "1"), text_of("gamma", "x") }))
    assert.same({ alpha_beta = 1 }, params.resolve(specs, {}, { text_of("alpha_beta", "1") }))
  end)

  it("take the last of what is given twice", function()
    assert.same({ alpha_beta = 3 },
      params.resolve(specs, {}, { text_of("alpha-beta", "1"), text_of("alpha_beta", "3") }))
  end)

  it("are refused when unknown, with the nearest", function()
    local _, why = params.resolve(specs, {}, { text_of("gama", "1") })
    assert.equal("unknown parameter 'gama' (--gama): the nearest is 'gamma'", why)
    _, why = params.resolve({ specs[1] }, {}, { text_of("zzz", "1") })
    assert.equal("unknown parameter 'zzz' (--zzz): this flow has " .. specs[1].name, why)
    _, why = params.resolve({}, {}, { text_of("gama", "1") })
    assert.equal("unknown parameter 'gama' (--gama): this flow has no parameters", why)
  end)

  it("are demanded when required", function()
    local required = { { name = "max_items", type = "integer", required = true } }
    local values, why = params.resolve(required, {}, {})
    assert.is_nil(values)
    assert.equal("parameter 'max_items' is required: give it an integer with --max-items", why)
    assert.same({ max_items = 1 }, params.resolve(required, {}, { text_of("max_items", "1") }))
    assert.same({ y = 1 }, params.resolve({ { name = "y", type = "number", default = 1, required = true } }, {}, {}))
  end)

  it("come from the environment when no option gives them", function()
    ffi.C.setenv("LUAFLOW_PARAM_ALPHA_BETA", "7", 1)
    assert.same({ alpha_beta = 7 }, params.resolve(specs, {}, {}))
    assert.same({ alpha_beta = 8 }, params.resolve(specs, {}, { text_of("alpha-beta", "8") }))
    ffi.C.setenv("LUAFLOW_PARAM_ALPHA_BETA", "seven", 1)
    local _, why = params.resolve(specs, {}, {})
    ffi.C.unsetenv("LUAFLOW_PARAM_ALPHA_BETA")
    assert.equal("parameter 'alpha_beta' takes a number, not 'seven' (LUAFLOW_PARAM_ALPHA_BETA)", why)
  end)

  it("read a file that is the default when the run starts", function()
    local _, why = params.resolve({ { name = "f", type = "file", default = "/nowhere/x" } }, {}, {})
    assert.equal("parameter 'f' takes a file (the path of one), not '/nowhere/x': /nowhere/x: No such file or "
      .. "directory (its default)", why)
  end)
end)

describe("a default that is a function", function()
  local typed = { { name = "x", type = "number", computed = true } }
  local untyped = { { name = "x", type = "string", computed = true, untyped = true } }

  it("is called once, when nothing is given", function()
    local calls = 0
    local defaults = { x = function() calls = calls + 1; return 5 end }
    assert.same({ x = 5 }, params.resolve(typed, defaults, {}))
    assert.equal(1, calls)
    assert.same({ x = 6 }, params.resolve(typed, defaults, { text_of("x", "6") }))
    assert.equal(1, calls)
  end)

  it("is not called when something else is wrong", function()
    local specs = { typed[1], { name = "y", type = "number" } }
    local _, why = params.resolve(specs, { x = function() error("called") end }, { text_of("y", "z") })
    assert.equal("parameter 'y' takes a number, not 'z' (--y)", why)
  end)

  it("may have nothing to give", function() assert.same({}, params.resolve(typed, { x = function() end }, {})) end)

  it("is a usage error when it fails or has another type", function()
    local values, why = params.resolve(typed, { x = function() error("no idea", 0) end }, {})
    assert.is_nil(values)
    assert.equal("the default of parameter 'x' (--x) failed: no idea", why)
    values, why = params.resolve(typed, { x = function() return {} end }, {})
    assert.is_nil(values)
    assert.equal("parameter 'x' takes a number, not a table (its default)", why)
  end)

  it("says the type by its value when nothing else does", function()
    for _, value in ipairs { 5, "s", true, { 1 } } do
      assert.same({ x = value }, params.resolve(untyped, { x = function() return value end }, {}))
    end
    assert.same({ x = 6 }, params.resolve(untyped, { x = function() return 5 end }, { text_of("x", "6") }))
    assert.same({ x = false }, params.resolve(untyped, { x = function() return false end }, { text_of("x", "no") }))
    local failing = { x = function() error("no idea") end }
    assert.same({ x = "6" }, params.resolve(untyped, failing, { text_of("x", "6") }))
  end)
end)
