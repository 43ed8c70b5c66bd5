local ffi = require "ffi"
local json = require "luaflow.json"

describe("JSON text", function()
  local function writes(value, text) assert.equal(text, json.encode(value)) end

  it("sorts keys, so that equal values are equal text", function()
    writes({ b = 1, a = { c = true, [("x"):rep(2)] = false } }, '{"a":{"c":true,"xx":false},"b":1}')
  end)

  it("writes whole numbers without a point, and others as short as they can be read back", function()
    writes({ 1, -7, 1e15, 2^53, 0.1, 1 / 3, 1e300, -2.5 },
      "[1,-7,1000000000000000,9007199254740992,0.1,0.3333333333333333,1e+300,-2.5]")
    for _, n in ipairs { 5e-324, 1.7976931348623157e308, 123456789.123456789, 2^53 + 2, math.pi } do
      assert.equal(n, tonumber(json.encode(n)))
    end
  end)

  it("escapes what may steer a terminal", function() writes("\27[\127\194\155é", [["\u001b[\u007f\u009bé"]]) end)

  it("keeps the sign of a zero", function() writes({ 0, -0.0 }, "[0,-0.0]") end)

  it("says what JSON has no number for", function()
    writes(0 / 0, '{"$type":"number","value":"nan"}')
    writes(math.huge, '{"$type":"number","value":"inf"}')
    writes(-math.huge, '{"$type":"number","value":"-inf"}')
  end)

  it("writes 64-bit integers plainly as long as every reader can keep them", function()
    writes({ 5LL, -9007199254740992LL, 9007199254740992ULL }, "[5,-9007199254740992,9007199254740992]")
    writes(9007199254740993LL, '{"$type":"int64","value":"9007199254740993"}')
    writes(-9007199254740993LL, '{"$type":"int64","value":"-9007199254740993"}')
    writes(-1LL, "-1")
    writes(18446744073709551615ULL, '{"$type":"uint64","value":"18446744073709551615"}')
  end)

  it("writes an empty table as an array", function() writes({ {}, { x = {} } }, '[[],{"x":[]}]') end)

  it("escapes what JSON does not allow in a string", function()
    writes('a"b\\c\n\t\0\31', [["a\"b\\c\n\t\u0000\u001f"]])
    writes("é😀", '"é😀"')
  end)

  it("writes bytes that are not UTF-8 as base64", function()
    writes("\255", '{"$type":"bytes","base64":"/w=="}')
    writes("\255\254", '{"$type":"bytes","base64":"//4="}')
    writes("\255\254\253", '{"$type":"bytes","base64":"//79"}')
    writes("\192\128", '{"$type":"bytes","base64":"wIA="}') -- an overlong NUL
    writes("\237\160\128", '{"$type":"bytes","base64":"7aCA"}') -- a surrogate
  end)

  it("writes FFI arrays with the type of their elements", function()
    writes(ffi.new("double[?]", 3, { 1.5, 0 / 0, -0.0 }),
      '{"$type":"double[]","values":[1.5,{"$type":"number","value":"nan"},-0.0]}')
    writes(ffi.new("int8_t[?]", 2, { -1, 2 }), '{"$type":"int8_t[]","values":[-1,2]}')
    writes(ffi.new("uint64_t[?]", 1, { -1ULL }),
      '{"$type":"uint64_t[]","values":[{"$type":"uint64","value":"18446744073709551615"}]}')
    writes(ffi.new("float[?]", 0), '{"$type":"float[]","values":[]}')
  end)

  it("writes keys that are not all strings as pairs, numbers before strings before booleans", function()
    writes({ [1] = "a", x = 2, [true] = 3, [false] = 4, [-1] = 5 },
      '{"$type":"map","pairs":[[-1,5],[1,"a"],["x",2],[false,4],[true,3]]}')
    writes({ [2] = "hole before" }, '{"$type":"map","pairs":[[2,"hole before"]]}')
  end)

  it("never lets a user's table pass for one of its own", function()
    writes({ ["$type"] = "bytes" }, '{"$type":"map","pairs":[["$type","bytes"]]}')
  end)

  it("names the class of a registered instance", function()
    writes({ setmetatable({ x = 1 }, { __luaflow_class = "Vec2" }) },
      '[{"$type":"class","name":"Vec2","value":{"x":1}}]')
  end)

  it("writes documents in the order they are read best, and ready text as it is", function()
    writes(json.ordered({ "b", "a", "gone" }, { a = json.raw("[1]"), b = json.null }), '{"b":null,"a":[1]}')
    writes(json.ordered({}, {}), "{}")
  end)

  it("refuses what no artifact can be", function()
    assert.has_error(function() json.encode(print) end, "a function cannot be written as JSON")
  end)
end)

describe("reading JSON", function()
  it("gives tables, strings, numbers, booleans and json.null", function()
    assert.same({ a = { 1, -2.5e3, true, "x" }, b = {} }, json.decode ' {"a":[1,-2.5e3,true,"x"],"b":{}} ')
    assert.equal(json.null, json.decode "null")
    assert.equal(false, json.decode "false")
    assert.same({ json.null, 1 }, json.decode "[null,1]")
  end)

  it("understands every escape, pairs of surrogates too", function()
    assert.equal('"\\/\b\f\n\r\té€😀\0', json.decode [["\"\\\/\b\f\n\r\t\u00e9\u20AC\ud83d\uDE00\u0000"]])
  end)

  it("says where it stopped understanding", function()
    for text, where in pairs {
      ["[\n 1\n 2]"] = "expected ',' or ']' at line 3, column 2",
      ["[1,]"] = "not a JSON value at line 1, column 4",
      ['{"a":1,}'] = "expected a key in double quotes at line 1, column 8",
      ['{"a" 1}'] = "expected ':' at line 1, column 6",
      ["{a:1}"] = "expected a key in double quotes at line 1, column 2",
      ['"\\ud800x"'] = "half a surrogate pair at line 1, column 2",
      ['"\\q"'] = "an unknown escape at line 1, column 2",
      ['"a\nb"'] = "a control character in a string at line 1, column 3",
      ['"abc'] = "a string that does not end at line 1, column 1",
      ["1 2"] = "something follows the value at line 1, column 3",
      ["01"] = "something follows the value at line 1, column 2",
      [""] = "the text ends too early at line 1, column 1",
    } do
      local value, message = json.decode(text)
      assert.is_nil(value)
      assert.equal(where, message)
    end
  end)

  it("refuses what is nearly JSON", function()
    for _, text in ipairs { "+1", "1.", ".5", "1e", "nan", "'a'", "nul", "[1 2]", "\239\187\1911", "true false" } do
      assert.is_nil((json.decode(text)))
    end
  end)

  it("bounds how deep a text may nest", function()
    assert.is_table(json.decode(("["):rep(200) .. ("]"):rep(200)))
    local value, message = json.decode(("["):rep(100000))
    assert.is_nil(value)
    assert.equal("nested deeper than 200 at line 1, column 201", message)
  end)

  it("gives back what it wrote", function()
    local value = { list = { 1, 2, { 3 } }, text = "a\nb\0", ["clé"] = true, n = -1.5e-7 }
    assert.same(value, json.decode(json.encode(value)))
  end)
end)
