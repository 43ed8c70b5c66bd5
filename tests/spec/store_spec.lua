-- What `verify` and `prune` say, on a store that is a table.
local commands = require "commands"
local core = require "luaflow.core"

local luaflow, refused = commands.luaflow, commands.refused

describe("luaflow verify", function()
  local world, sum

  before_each(function()
    world = commands.new_world()
    sum = { runs = 3, tasks = 1204, artifacts = 310, blobs = 1, bytes = 12400000, findings = {} }
    core.verify = function(store)
      world.verified = store
      return sum
    end
  end)

  after_each(function() core.verify = nil end)

  it("says in a line how much there is", function()
    local code, out = luaflow "verify --store s"
    assert.equal(0, code)
    assert.equal("s", world.verified)
    assert.equal("verified 3 runs, 1,204 tasks, 310 artifacts, 12.4 MB: all is well\n", out)
  end)

  it("tells each finding in a line, and what to do", function()
    sum.findings = { { run = 1, task = 2, text = "run 1, step a, task 2: its log is damaged" }, { text = "b" } }
    local code, out, err = luaflow "verify"
    assert.equal(3, code)
    assert.equal([[
run 1, step a, task 2: its log is damaged
b
verified 3 runs, 1,204 tasks, 310 artifacts, 12.4 MB: 2 findings
]], out)
    assert.truthy(err:find("luaflow resume", 1, true))
  end)

  it("gives one document", function()
    sum.findings = { { run = 1, task = 2, text = "t" } }
    local code, out, err = luaflow "verify --json"
    assert.equal(3, code)
    assert.equal('{"runs":3,"tasks":1204,"artifacts":310,"blobs":1,"bytes":12400000,"findings":[{"run":1,"step":null,'
      .. '"task":2,"path":null,"artifact":null,"text":"t"}]}\n', out)
    assert.equal("", err)
  end)

  it("has nothing to do without a store, and passes on why one cannot be read", function()
    core.verify = function() return nil, "there is none", "notfound" end
    local code, out, err = luaflow "verify --store s"
    assert.equal(0, code)
    assert.equal("verified 0 runs, 0 tasks, 0 artifacts, 0 bytes: all is well\n", out)
    assert.truthy(err:find("there is no store at s", 1, true))
    core.verify = function() return nil, "use a newer luaflow", "store" end
    code, out, err = luaflow "verify"
    assert.equal(3, code)
    assert.equal("", out)
    assert.equal("luaflow: use a newer luaflow\n", err)
  end)
end)

describe("luaflow prune", function()
  local world, freed, open

  before_each(function()
    world = commands.new_world()
    freed = { runs = 2, tasks = 20, blobs = 1, bytes = 999 }
    open = core.open
    core.open = function(options)
      local rt, message, code = open(options)
      if rt == nil then return nil, message, code end
      return {
        warning = function() return nil end,
        prune = function(_, how)
          world.pruned = how
          if freed == nil then return nil, "it is damaged", "store" end
          return freed
        end,
        close = function() world.is_closed = true end,
      }
    end
    core.compact = function(store)
      assert(world.is_closed, "the store is still open")
      world.compacted = store
      if world.is_busy then return nil, "another process has it open", "store" end
      return 2000, 1000
    end
  end)

  after_each(function() core.open, core.compact = open, nil end)

  it("says what went", function()
    local code, out = luaflow "prune --keep 3 --flow F --older-than 7d"
    assert.equal(0, code)
    assert.equal("deleted 2 runs: 20 tasks, 1 value, 999 bytes\n", out)
    assert.same({ keep = 3, flow = "F", older_than = 7 * 86400 }, world.pruned)
  end)

  it("only says what would go", function()
    local _, out = luaflow "prune --keep=0 --dry-run"
    assert.equal("would delete 2 runs: 20 tasks, 1 value, 999 bytes\n", out)
    assert.same({ keep = 0, dry_run = true }, world.pruned)
  end)

  it("gives space back once the store is closed", function()
    local code, out = luaflow "prune --keep 1 --compact --store s"
    assert.equal(0, code)
    assert.equal("s", world.compacted)
    assert.truthy(out:find("the store's file has shrunk from 2.0 kB to 1.0 kB\n", 1, true))
    code, out = luaflow "prune --keep 1 --compact --json"
    assert.equal(0, code)
    assert.equal('{"runs":2,"tasks":20,"blobs":1,"bytes":999,"dry_run":false,'
      .. '"compacted":{"before":2000,"after":1000}}\n', out)
    world.is_busy = true
    local err
    code, out, err = luaflow "prune --keep 1 --compact"
    assert.equal(3, code)
    assert.equal("deleted 2 runs: 20 tasks, 1 value, 999 bytes\n", out)
    assert.equal("luaflow: another process has it open\n", err)
  end)

  it("has nothing to do without a store, and passes on why it cannot", function()
    world.open_fails = { "there is none", "notfound" }
    local code, out = luaflow "prune --keep 1"
    assert.equal(0, code)
    assert.equal("deleted 0 runs: 0 tasks, 0 values, 0 bytes\n", out)
    world.open_fails, freed = nil, nil
    local err
    code, out, err = luaflow "prune --keep 1"
    assert.equal(3, code)
    assert.equal("", out)
    assert.equal("luaflow: it is damaged\n", err)
  end)

  it("refuses what makes no sense", function()
    refused("prune", "'--keep N' is missing")
    refused("prune --keep=-1", "'-1' is not a whole number")
    refused("prune --keep 1 --older-than 7", "'7' is not an age like 30m, 12h or 7d")
    refused("prune --keep 1 --older-than 99999999999d", "is not an age")
    refused("prune --keep 1 --compact --dry-run", "do not go together")
  end)
end)
