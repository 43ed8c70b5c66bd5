-- :LuaflowRun FILE runs a flow while you go on editing.
--
-- Put this directory on 'runtimepath' and, if you like, g:luaflow_status into your status line:
--     set statusline+=%{get(g:,'luaflow_status','')}
-- What steps print, and what fails, comes into the quickfix list, so that :cnext goes to the line.
local luaflow -- required by the first command: the editor starts as fast as without it

local BUDGET = 0.002 -- seconds that luaflow may have at a time

local function show_status(...)
  vim.g.luaflow_status = string.format(...)
  vim.cmd "redrawstatus!"
end

-- Lines "FILE:LINE: MESSAGE" become places to go to.
local function add_to_quickfix(text)
  vim.fn.setqflist({}, "a", { lines = vim.split(text, "\n"), efm = "%f:%l: %m" })
end

-- Calls `deliver` in the editor's main loop whenever `run` has events, until it has ended. Here
-- libuv waits for the descriptor; until its events are taken it stays readable, so it is not
-- watched in the meantime.
local function watch(run, deliver)
  local handle = vim.loop.new_poll(run:fd())
  local function wait()
    handle:start("r", function()
      handle:stop()
      vim.schedule(function()
        deliver()
        if run.finished then handle:close() else wait() end
      end)
    end)
  end
  wait()
end

local function start(file)
  luaflow = luaflow or require "luaflow"
  vim.fn.setqflist({}, " ", { title = "LuaflowRun " .. file })
  local run, problem = luaflow.start(file)
  if not run then
    add_to_quickfix(problem)
    return show_status("%s cannot start", file)
  end
  local started, done = 0, 0
  run:on(function(event)
    if event.event == "task_started" then
      started = started + 1
    elseif event.event == "task_finished" then
      done = done + 1
    elseif event.event == "line" then
      add_to_quickfix(event.text)
    elseif event.event == "task_failed" then
      add_to_quickfix(event.message)
    end
  end)
  watch(run, function()
    run:poll(BUDGET)
    show_status("%s %s %d/%d", run.pathspec, run.status, done, started)
  end)
  show_status("%s %s", run.pathspec, run.status)
end

vim.api.nvim_create_user_command("LuaflowRun", function(command) start(command.args) end,
  { nargs = 1, complete = "file", desc = "Runs a flow while you go on editing" })
