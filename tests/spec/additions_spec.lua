local additions = require "luaflow.additions"

describe("what a host adds", function()
  --- What find(message) says after add() has changed this state, which is put right again.
  local function missed(message, add)
    local path, before = package.path, {}
    for name in pairs(_G) do before[name] = true end
    local find = additions.look()
    add()
    local name = find(message)
    for added in pairs(_G) do
      if not before[added] then _G[added] = nil end
    end
    package.path, package.preload.bake, package.loaded.bake = path, nil, nil
    string.bake = nil -- luacheck: ignore 142
    return name
  end

  local function global() _G.bake_fast = print end

  it("is found when a message misses a global", function()
    assert.are.equal("bake_fast", missed("f.lua:3: attempt to call global 'bake_fast' (a nil value)", global))
    assert.are.equal("bake_fast", missed("f.lua:3: attempt to index upvalue 'bake_fast' (a nil value)", global))
    assert.are.equal("bake_fast",
      missed("f.lua:3: attempt to perform arithmetic on global 'bake_fast' (a nil value)", global))
  end)

  it("is found when a message misses a field of a library", function()
    local function add() string.bake = print end -- luacheck: ignore 142
    assert.are.equal("bake", missed("f.lua:3: attempt to call field 'bake' (a nil value)", add))
    assert.are.equal("bake", missed("f.lua:3: attempt to call method 'bake' (a nil value)", add))
  end)

  it("is found when a message misses a module", function()
    local message = "f.lua:1: module 'bake' not found:\n\tno field package.preload['bake']"
    assert.are.equal("bake", missed(message, function() package.preload.bake = print end))
    assert.are.equal("bake", missed(message, function() package.loaded.bake = {} end))
  end)

  it("is found when the module is a file where the host looks", function()
    local directory = os.tmpname()
    os.remove(directory)
    assert(os.execute("mkdir " .. directory) == 0)
    assert(io.open(directory .. "/bake.lua", "w")):close()
    local function add() package.path = package.path .. ";" .. directory .. "/?.lua" end
    assert.are.equal("bake", missed("module 'bake' not found:", add))
    assert.is_nil(missed("module 'cook' not found:", add))
    os.execute("rm -r " .. directory)
  end)

  it("is nothing when something else is missing or wrong", function()
    assert.is_nil(missed("f.lua:3: attempt to call global 'prnt' (a nil value)", global))
    assert.is_nil(missed("f.lua:3: attempt to call global 'print' (a nil value)", global))
    assert.is_nil(missed("f.lua:3: attempt to call global 'bake_fast' (a table value)", global))
    assert.is_nil(missed("bake_fast is not in the mood", global))
    assert.is_nil(missed("module 'cook' not found:", global))
    assert.is_nil(missed("module 'string' not found:", global))
  end)
end)
