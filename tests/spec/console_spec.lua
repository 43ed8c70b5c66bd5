local console = require "luaflow.console"

-- A console whose writing is kept: view, and what it wrote to stdout and to stderr.
local function new(options)
  local out, err = {}, {}
  local given = {
    write = function(text) out[#out + 1] = text end,
    write_status = function(text) err[#err + 1] = text end,
    now = function() return 0 end,
    width = function() return 40 end,
    steps = 4,
    attempts = {},
    file = "f.lua",
    show_value = function(bytes) return "<" .. bytes .. ">" end,
    resume = function(run) return "luaflow resume f.lua --origin-run-id " .. run end,
  }
  for key, value in pairs(options or {}) do given[key] = value end
  local view = (given.make or console.new)(given)
  return view, function() return table.concat(out) end, function() return table.concat(err) end
end

-- What the events look like, without time stamps.
local function shown(events, options)
  local view, out = new(options)
  for _, event in ipairs(events) do view:event(event) end
  view:close()
  return (out():gsub("%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d%.%d%d%d ", "T "))
end

local function task(event, more)
  local e = { event = event, run = 1, step = "join", task = 4, path = "join", attempt = 0, worker = 2, time = 5 }
  for key, value in pairs(more or {}) do e[key] = value end
  return e
end

local function finished(status, counts, message)
  return { event = "run_finished", run = 1, time = 5.031, status = status, counts = counts, message = message }
end

local STARTED = { event = "run_started", run = 1, time = 5 }

describe("the console", function()
  it("stamps every line with local time and milliseconds", function()
    local view, out = new()
    view:event(task("line", { text = "x is 1", time = 1700000000.1869, stream = "stdout" }))
    view:flush()
    assert.equal(os.date("%Y-%m-%d %H:%M:%S", 1700000000) .. ".186 [1/join/4 (worker 2)] x is 1\n", out())
  end)

  it("tells a run from its first line to its last", function()
    assert.equal("T Workflow starting (run-id 1)\n"
      .. "T [1/join/4 (worker 2)] Task is starting.\n"
      .. "T [1/join/4 (worker 2)] hello\n"
      .. "T [1/join/4 (worker 2)] Task finished successfully.\n"
      .. "T Done! 5 tasks in 0.031 s.\n",
      shown { STARTED, task "task_started", task("line", { text = "hello" }), task "task_finished",
        finished("done", { done = 5, failed = 0, reused = 0 }) })
  end)

  it("names the process of an isolated task", function()
    assert.equal("T [1/join/4 (pid 99)] Task is starting.\n", shown { task("task_started", { pid = 99 }) })
  end)

  it("puts the task before every line of its error and traceback", function()
    assert.equal("T [1/join/4 (worker 2)] Task failed.\n"
      .. "T [1/join/4 (worker 2)] f.lua:3: no\n"
      .. "T [1/join/4 (worker 2)] second line\n"
      .. "T [1/join/4 (worker 2)] stack traceback:\n"
      .. "T [1/join/4 (worker 2)] \tf.lua:3: in function\n",
      shown { task("task_failed", { message = "f.lua:3: no\nsecond line",
        traceback = "stack traceback:\n\tf.lua:3: in function\n" }) })
  end)

  it("ends a failed run with what to type next", function()
    assert.equal("T Run 1 failed: 1 task failed, 3 steps never ran. Resume with:\n"
      .. "    luaflow resume f.lua --origin-run-id 1\n",
      shown({ task "task_started", task("task_failed", { message = "x" }),
        finished("failed", { done = 0, failed = 1, reused = 0 }) }):match("T Run.*"))
  end)

  it("says why a run failed that no task failed", function()
    assert.equal("T Run 1 failed: the disk is full, 4 steps never ran. Resume with:\n"
      .. "    luaflow resume f.lua --origin-run-id 1\n",
      shown { finished("failed", { done = 0, failed = 0, reused = 0 }, "the disk is full.") })
  end)

  it("says how to resume an interrupted run", function()
    local text = shown { finished("interrupted", { done = 2, failed = 0, reused = 0 }) }
    assert.equal("T Run 1 was interrupted: 2 tasks done, 4 steps never ran. Resume with:\n"
      .. "    luaflow resume f.lua --origin-run-id 1\n", text)
  end)

  it("tells of an attempt that failed and when the next begins", function()
    local retrying = { task("task_retrying", { message = "oops", traceback = "", delay = 0.5 }),
      task("task_started", { attempt = 1 }) }
    assert.equal("T [1/join/4 (worker 2)] Task failed.\n"
      .. "T [1/join/4 (worker 2)] oops\n"
      .. "T [1/join/4 (worker 2)] Retrying in 0.5 s (attempt 2 of 4).\n"
      .. "T [1/join/4 (worker 2)] Task is starting.\n",
      shown(retrying, { attempts = { join = 4 } }))
    assert.truthy(shown({ task("task_retrying", { message = "oops", delay = 0 }) }, { is_quiet = true })
      :find("oops\nT [1/join/4 (worker 2)] Retrying (attempt 2).\n", 1, true))
    assert.truthy(shown { task("task_retrying", { message = "oops", delay = 0.2 * 3, attempt = 2 }) }
      :find("Retrying in 0.6 s (attempt 4).\n", 1, true))
  end)

  it("shows which element of a foreach failed, and how to see what it printed", function()
    assert.equal("T [1/join/4 (worker 2)] Task failed.\n"
      .. "T [1/join/4 (worker 2)] timed out after 30 s\n"
      .. "T [1/join/4 (worker 2)] Path a[7][2]#3, index 2, input <x>\n"
      .. "T [1/join/4 (worker 2)] See what it printed: luaflow logs F/1/join/4\n",
      shown({
        task("task_failed", { message = "timed out after 30 s", traceback = "", path = "a[7][2]#3", input = "x" }),
      }, { logs = function(event) return ("luaflow logs F/%d/%s/%d"):format(event.run, event.step, event.task) end }))
  end)

  it("shows which element it was when its input is not in the event, too", function()
    assert.truthy(shown { task("task_failed", { message = "no", path = "a[2]" }) }
      :find("Path a[2], index 2, input too large to be shown here\n", 1, true))
    assert.falsy(shown { task("task_failed", { message = "no", path = "a#2" }) }:find("Path", 1, true))
  end)

  it("shows the lines around the one that failed", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write("one\ntwo\nthree\nfour\nfive\n")
    file:close()
    local text = shown({ task("task_failed", { message = path .. ":2: no" }) }, { file = path })
    os.remove(path)
    assert.equal("T [1/join/4 (worker 2)]   1 | one\n"
      .. "T [1/join/4 (worker 2)] > 2 | two\n"
      .. "T [1/join/4 (worker 2)]   3 | three\n"
      .. "T [1/join/4 (worker 2)]   4 | four\n", text:match(": no\n(.*)"))
  end)

  it("tells of tasks that are reused", function()
    local reused = { task("task_reused", { worker = false, reason = "it succeeded in run 1" }),
      task("task_started", { reason = "it failed in run 1" }) }
    reused[1].worker = nil
    assert.equal("T [1/join/4] Task reused.\nT [1/join/4 (worker 2)] Task is starting.\n", shown(reused))
    assert.equal("", shown(reused, { is_quiet = true }))
    for _, is_quiet in ipairs { true, false } do
      assert.equal("T [1/join/4] Task reused: it succeeded in run 1.\n"
        .. "T [1/join/4 (worker 2)] Task is starting: it failed in run 1.\n",
        shown(reused, { explains = true, is_quiet = is_quiet }))
    end
    assert.equal("T Done! 5 tasks in 5.031 s. 3 of them reused.\n",
      shown { finished("done", { done = 5, failed = 0, reused = 3 }) })
    assert.truthy(shown { finished("failed", { done = 4, failed = 1, reused = 3 }) }
      :find("T Run 1 failed: 1 task failed, 4 steps never ran, 3 tasks reused. Resume with:\n", 1, true))
  end)

  it("says how many of a step's many tasks are reused", function()
    assert.equal("T Step a: 70 done (60 reused), 4 running, 1 failed.\n",
      shown { { event = "progress", run = 1, step = "a", time = 1,
        counts = { started = 75, done = 70, failed = 1, reused = 60 } } })
  end)

  it("gives a step with many tasks one line", function()
    assert.equal("T Step a: 70 done, 4 running, 1 failed.\n",
      shown { { event = "progress", run = 1, step = "a", time = 1, counts = { started = 75, done = 70, failed = 1 } } })
  end)

  it("shows only what steps print, and failures, when it is to be quiet", function()
    assert.equal("T [1/join/4 (worker 2)] hello\n",
      shown({ STARTED, task "task_started", task("line", { text = "hello" }), task "task_finished",
        finished("done", { done = 5, failed = 0, reused = 0 }) }, { is_quiet = true }))
    assert.truthy(shown({ task("task_failed", { message = "no" }) }, { is_quiet = true }):find("Task failed.", 1, true))
  end)

  it("dims the time and reddens failures where colours are wanted", function()
    local text = shown({ task("task_failed", { message = "no" }) }, { has_colours = true })
    assert.truthy(text:find("^\27%[2m"))
    assert.truthy(text:find("\27[31mTask failed.\27[0m", 1, true))
  end)

  it("shows control characters on a terminal and sends them elsewhere", function()
    local steering = { task("line", { text = "\27[2J\rgone\27[31m red" }) }
    assert.truthy(shown(steering, { is_terminal = true }):find("^[[2J^Mgone\27[31m red\27[0m\n", 1, true))
    assert.truthy(shown(steering, { is_terminal = true, is_raw = true }):find("\27[2J\rgone", 1, true))
    assert.truthy(shown(steering):find("\27[2J\rgone", 1, true))
  end)
end)

describe("visible text", function()
  it("keeps letters, tabs, newlines and colours", function()
    assert.equal("é\tb\nc", console.visible("é\tb\nc"))
    assert.equal("\27[1;32mok\27[0m\27[0m", console.visible("\27[1;32mok\27[0m"))
  end)

  it("shows everything else that a terminal would obey", function()
    assert.equal("^@^G^H^?", console.visible("\0\7\8\127"))
    assert.equal("^[]0;title^G", console.visible("\27]0;title\7"))
    assert.equal("\\x9B2J", console.visible("\194\1552J"))
    assert.equal("\\x9B\\xFF", console.visible("\155\255"))
    assert.equal("^A", console.visible("\1"))
    assert.equal("\27[1m\\xFF\27[0mé\27[0m", console.visible("\27[1m\255\27[0mé"))
  end)

  it("is plain where no step printed it", function()
    assert.equal("^[[1;32mok\tb\nc é", console.plain("\27[1;32mok\tb\nc é"))
  end)
end)

describe("text that is cut", function()
  it("ends with a whole character and an ellipsis", function()
    assert.equal("abc", console.cut("abc", 3))
    assert.equal("ab…", console.cut("abc", 2))
    assert.equal("a…", console.cut("aéb", 2))
    assert.equal("aé…", console.cut("aéb", 3))
  end)
end)

describe("the status line", function()
  it("stands below the lines and is gone before the next", function()
    local now = 0
    local view, out, err = new { has_status = true, now = function() return now end, width = function() return 200 end }
    now = 1
    view:event(STARTED)
    view:event(task "task_started")
    view:flush()
    assert.equal("\rrun 1: 1 of 4 steps begun, 0 done, 1 running, 0 failed, 0.0 tasks/s\27[K", err())
    view:event(task "task_finished")
    now = 1.01
    view:flush()
    assert.truthy(err():find("\r\27%[K$"), "cleared, and too early to be drawn again")
    view:close()
    assert.truthy(err():find("\r\27%[K$"))
    assert.truthy(out():find("finished successfully"))
  end)

  it("is never wider than the terminal", function()
    local view, _, err = new { has_status = true, now = os.time }
    view:event(STARTED)
    view:flush()
    assert.equal(#"\r" + 39 + #"\27[K", #err())
  end)
end)

describe("Ctrl-C", function()
  it("tells what is waited for, then how to go on", function()
    local view, out = new()
    view:event(task "task_started")
    view:interrupted()
    view:abandoned(1)
    view:close()
    assert.truthy(out():find(
      "Interrupted: waiting for 1 running task to end; press Ctrl-C again to abandon it.\n", 1, true))
    assert.truthy(out():find("Abandoned 1 running task of run 1. Resume with:\n    luaflow resume f.lua", 1, true))
  end)
end)

describe("Ctrl-C while tasks wait to be tried again", function()
  local function told(seconds, ...)
    local view, out = new { now = function() return 5 + seconds end }
    for _, event in ipairs { ... } do view:event(event) end
    view:interrupted()
    view:close()
    return out():match("Interrupted: .*")
  end
  local started = task "task_started"
  local retrying = task("task_retrying", { message = "no", delay = 10 })

  it("waits for none of them", function()
    assert.equal("Interrupted: no further task is started. 1 task was waiting for another attempt, which a resumed "
      .. "run will make.\n", told(1, started, retrying))
    assert.equal("Interrupted: waiting for 1 running task to end; press Ctrl-C again to abandon it. 2 tasks were "
      .. "waiting for another attempt, which a resumed run will make.\n",
      told(1, started, retrying, task("task_started", { task = 5 }), task("task_started", { task = 6 }),
        task("task_retrying", { message = "no", delay = 10, task = 6 })))
  end)

  it("waits for the next attempt once that runs", function()
    local waiting = "Interrupted: waiting for 1 running task to end; press Ctrl-C again to abandon it.\n"
    assert.equal(waiting, told(1, started, retrying, task("task_started", { attempt = 1 })))
    assert.equal(waiting, told(11, started, retrying))
  end)
end)

describe("the journal", function()
  local function journal(events)
    local view, out, err = new { make = console.journal }
    for _, event in ipairs(events) do view:event(event) end
    view:close()
    return out(), err()
  end

  it("is one object a line, in the order people read", function()
    assert.equal('{"event":"run_started","run":1,"time":5}\n'
      .. '{"event":"task_finished","run":1,"step":"join","task":4,"path":"join","attempt":0,"time":5}\n'
      .. '{"event":"line","run":1,"step":"join","task":4,"path":"join","attempt":0,"time":5,'
      .. '"stream":"stdout","text":"a\\"b"}\n'
      .. '{"event":"run_finished","run":1,"time":5.031,"status":"done"}\n',
      (journal { STARTED, task "task_finished", task("line", { stream = "stdout", text = 'a"b' }),
        finished("done", { done = 1 }) }))
  end)

  it("says why tasks of a resumed run were reused or run, and which attempts failed", function()
    assert.equal('{"event":"task_reused","run":1,"step":"join","task":4,"path":"join","attempt":0,"time":5,'
      .. '"reason":"it succeeded in run 1"}\n'
      .. '{"event":"task_retrying","run":1,"step":"join","task":4,"path":"join","attempt":0,"time":5,'
      .. '"message":"no","traceback":"","delay":10}\n',
      (journal { task("task_reused", { reason = "it succeeded in run 1" }),
        task("task_retrying", { message = "no", traceback = "", delay = 10, input = "\1" }) }))
    local out = journal { task("task_retrying", { message = "no", delay = 0.2 * 3 }) }
    assert.truthy(out:find('"delay":0.6}\n', 1, true))
  end)

  it("tells no end of a run that is abandoned, for none is stored", function()
    local view, out, err = new { make = console.journal }
    view:event(STARTED)
    view:abandoned(1)
    view:close()
    assert.falsy(out():find("run_finished", 1, true))
    assert.truthy(err():find("Abandoned run 1. Resume with:", 1, true))
  end)

  it("keeps progress to itself, and hints for stderr", function()
    local out, err = journal {
      { event = "progress", run = 1, step = "a", time = 1, counts = { started = 1, done = 1, failed = 0 } },
      finished("failed", { done = 0, failed = 1 }),
    }
    assert.equal('{"event":"run_finished","run":1,"time":5.031,"status":"failed"}\n', out)
    assert.truthy(err:find("Resume with:\n    luaflow resume f.lua --origin-run-id 1\n", 1, true))
  end)
end)
