-- resume and step, on a store and a process that are tables.
local commands = require "commands"
local luaflow, refused = commands.luaflow, commands.refused

local world
before_each(function() world = commands.new_world() end)

local function event(name, more)
  local e = { event = name, run = 3, step = "finish", task = 2, path = "finish", attempt = 0, worker = 1, time = 1 }
  for key, value in pairs(more or {}) do e[key] = value end
  return e
end

describe("resume", function()
  it("goes on with the flow's latest run, or with the one that is named", function()
    assert.equal(0, (luaflow "resume f.lua"))
    assert.same({ "resume", nil, nil }, { world.started, world.options.origin, world.options.step })
    assert.equal(0, (luaflow "resume f.lua --origin-run-id 2 finish"))
    assert.same({ 2, "finish" }, { world.options.origin, world.options.step })
    assert.equal(0, (luaflow "resume --origin_run_id=1 f.lua"))
    assert.equal(1, world.options.origin)
  end)

  it("takes run's options", function()
    luaflow "resume f.lua --max-workers 4 --tag a --tag b --run-id-file id --keep-going --with retry=2"
    assert.same({ 4, { "a", "b" }, "id", true, 50 }, { world.options.max_workers, world.options.tags,
      world.options.run_id_file, world.options.keep_going, world.options.progress_after })
    assert.same({ { name = "retry", value = "2" } }, world.with)
    assert.is_nil(world.options.texts)
    assert.is_nil(world.options.seed)
  end)

  it("takes no parameters and no seed, since the origin has them", function()
    for _, option in ipairs { "--suffix a", "--suffix=a", "--max_depth 3", "--debug-mode", "--no-debug-mode" } do
      refused("resume f.lua " .. option, "parameters come from the run that is resumed and cannot be changed")
    end
    refused("resume f.lua --seed 3", "option '--seed': parameters and the seed come from the run that is resumed")
    assert.is_nil(world.opened)
  end)

  it("refuses what it does not understand", function()
    refused("resume", "missing argument 'FLOW.lua'")
    refused("resume gone.lua", "there is no file gone.lua")
    refused("resume bad.lua", "step 'start' is missing\nstep 'a' goes nowhere")
    refused("resume f.lua finish other", "unexpected argument 'other'")
    refused("resume f.lua --origin-run 3", "unknown option '--origin-run'; did you mean '--origin-run-id'?")
    refused("resume f.lua --nonsense", "unknown option '--nonsense'\n")
    refused("resume f.lua -x", "unknown option '-x'")
    refused("resume f.lua --origin-run-id last", "'last' is not a whole number")
    refused("resume f.lua finsih", "flow F has no step 'finsih'; did you mean 'finish'?")
    refused("resume f.lua x", "flow F has no step 'x'; its steps are start, finish")
    assert.is_nil(world.opened)
  end)

  it("makes no store, and no run where there is none to resume", function()
    world.open_fails = { "cannot open", "notfound" }
    refused("resume f.lua --store here", "there is no store at here")
    assert.is_false(world.opened.create)
    world.open_fails = nil
    for _, code in ipairs { "usage", "notfound", "flow" } do
      world.start_fails = { "run 9 is not in this store", code }
      refused("resume f.lua --origin-run-id 9", "run 9 is not in this store")
    end
    world.start_fails = { "the disk is full", "store" }
    assert.equal(3, (luaflow "resume f.lua"))
  end)

  it("explains when asked to", function()
    world.events = { event("task_reused", { worker = nil, reason = "it succeeded in run 2" }),
      event("task_started", { reason = "it failed in run 2" }), event "task_finished" }
    local _, text = luaflow "resume f.lua"
    assert.falsy(text:find("in run 2", 1, true))
    assert.truthy(text:find("] Task reused.\n", 1, true))
    _, text = luaflow "resume f.lua --explain"
    assert.truthy(text:find("] Task reused: it succeeded in run 2.\n", 1, true))
    assert.truthy(text:find("] Task is starting: it failed in run 2.\n", 1, true))
    assert.equal(0, world.options.progress_after)
    _, text = luaflow "resume f.lua --json"
    assert.truthy(text:find('"event":"task_reused",[^\n]*"reason":"it succeeded in run 2"}\n'))
  end)

  it("ends as the run does, and says what to type next", function()
    world.ends = "failed"
    local code, text = luaflow "resume f.lua --origin-run-id 1 --store here"
    assert.equal(1, code)
    assert.truthy(text:find("    luaflow resume f.lua --origin-run-id 3 --store here\n", 1, true))
  end)

  it("only says what it would reuse with --dry-run", function()
    assert.same({ 0, [[
Would resume run 2 of flow F (f.lua).
Parameters:
    suffix = "of run 2"
Steps:
    start (1 task reused)
    finish
]], "" }, { luaflow "resume f.lua --dry-run" })
    assert.same({ 0, '{"flow":"F","origin_run_id":1,"params":{"suffix":"of run 1"},"steps":["start","finish"],'
      .. '"reused":{"start":1}}\n', "" }, { luaflow "resume f.lua finish --dry-run --json --origin-run-id 1" })
    assert.falsy(select(2, luaflow "resume f.lua start --dry-run"):find("reused", 1, true))
    assert.is_nil(world.started)
    refused("resume f.lua --dry-run --origin-run-id 9", "run 9 is not in this store")
    world.is_empty = true
    refused("resume f.lua --dry-run", "there is no run of flow F to resume")
    world.is_empty, world.runs = false, commands.runs()
    world.runs[2].status = "running"
    refused("resume f.lua --dry-run", "run 2 is still running")
    world.runs[2].flow = "G"
    refused("resume f.lua --dry-run --origin-run-id 2", "run 2 is of flow G, not of F")
  end)

  it("has a help of its own", function()
    local code, text = luaflow "resume f.lua --help"
    assert.equal(0, code)
    for _, words in ipairs { "FLOW.lua [STEP]", "--origin-run-id N", "--explain", "--keep-going" } do
      assert.truthy(text:find(words, 1, true), words)
    end
    assert.falsy(text:find("--seed", 1, true))
  end)
end)

describe("step", function()
  it("shows what the step prints and what it would have stored", function()
    local code, text, complaint = luaflow "step f.lua finish --from 1"
    assert.same({ 0, "" }, { code, complaint })
    assert.truthy(text:find('^%S+ %S+ %[1/finish/2 %(worker 1%)%] trying\n'
      .. 'F/1/finish/2  finish  done\n    picture = {"$type":"bytes","base64":"iVBORw=="}\n    x = 1\n$'), text)
    assert.same({ step = "finish", run = 1 }, world.try)
  end)

  it("takes the inputs of any task of the step", function()
    for _, from in ipairs { "2", "last", "F/2", "F/last", "F/2/finish" } do
      assert.equal(0, (luaflow("step f.lua finish --from " .. from)), from)
      assert.same({ step = "finish", run = 2 }, world.try)
    end
    for _, from in ipairs { "2/finish/2", "F/2/finish/2", "last/finish/2" } do
      assert.equal(0, (luaflow("step f.lua finish --from " .. from)), from)
      assert.same({ step = "finish", run = 2, task = 2 }, world.try)
    end
  end)

  it("has a document, beside which the lines go to stderr", function()
    local code, text, lines = luaflow "step f.lua start --from 1 --json"
    assert.equal(0, code)
    assert.equal('{"tasks":[{"pathspec":"F/1/start/1","path":"start","status":"done",'
      .. '"artifacts":{"picture":{"$type":"bytes","base64":"iVBORw=="},"x":1}}]}\n', text)
    assert.truthy(lines:find("] trying\n$"))
  end)

  it("says where the flow would go on", function()
    world.tried = { choice = "finish" }
    assert.truthy(select(2, luaflow "step f.lua start --from 1"):find("\nIt would go on with step finish.\n$"))
    world.tried = { width = 3 }
    assert.truthy(select(2, luaflow "step f.lua start --from 1"):find("\nIt would start 3 tasks.\n$"))
  end)

  it("shows a failure as a run does", function()
    world.tried = { status = "failed", artifacts = {}, message = "f.lua:3: no",
      traceback = "stack traceback:\n\tf.lua:3:" }
    local code, text = luaflow "step f.lua finish --from 1"
    assert.equal(1, code)
    assert.truthy(text:find("[1/finish/2] Task failed.\n", 1, true))
    assert.truthy(text:find("[1/finish/2] f.lua:3: no\n", 1, true))
    assert.truthy(text:find("\tf.lua:3:\nF/1/finish/2  finish  failed\n$"))
    assert.falsy(text:find("Path ", 1, true))
    assert.falsy(text:find("See what it printed", 1, true))
    world.tried.path, world.tried.input = "finish[2]", "\0x"
    assert.truthy(select(2, luaflow "step f.lua finish --from 1"):find("Path finish[2], index 2, input 1\n", 1, true))
    world.tried.path = nil
    code, text = luaflow "step f.lua finish --from 1 --json"
    assert.same({ 1, '{"tasks":[{"pathspec":"F/1/finish/2","path":"finish","status":"failed","message":"f.lua:3: no",'
      .. '"traceback":"stack traceback:\\n\\tf.lua:3:","artifacts":{}}]}\n' }, { code, text })
  end)

  it("refuses what is not there", function()
    refused("step f.lua finish", "--from")
    refused("step f.lua --from 1", "missing argument")
    refused("step gone.lua finish --from 1", "there is no file gone.lua")
    refused("step f.lua finsih --from 1", "flow F has no step 'finsih'; did you mean 'finish'?")
    refused("step f.lua finish --from 9", "run 9 is not in this store")
    refused("step f.lua finish --from 1/start/1", "1/start/1 is about step start, not finish")
    refused("step f.lua finish --from 1/finish/1", "run 1 has no task 1 of step finish")
    world.runs = commands.runs()
    world.runs[1].flow = "G"
    refused("step f.lua finish --from 1", "run 1 is of flow G, not of F")
    world.open_fails = { "cannot open", "notfound" }
    refused("step f.lua finish --from 1 --store here", "there is no store at here")
    world.open_fails = nil
    world.try_fails = { "run 1 has no inputs of step finish", "notfound" }
    refused("step f.lua finish --from 2", "run 1 has no inputs of step finish")
  end)
end)
