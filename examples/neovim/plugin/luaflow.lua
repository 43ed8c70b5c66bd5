-- :LuaflowRun FILE runs a flow while you go on editing.
--
-- Put this directory on 'runtimepath' and, if you like, g:luaflow_status into your status line:
--     set statusline+=%{get(g:,'luaflow_status','')}
-- What steps print, and what fails, comes into the quickfix list, so that :cnext goes to the line.
local luaflow -- required by the first command: the editor starts as fast as without it

local BUDGET = 0.002 -- seconds that luaflow may have at a time

local function set_status(...) vim.g.luaflow_status = string.format(...) end

-- A new quickfix list: a function that adds text to it, whatever list is shown by then. Lines
-- "FILE:LINE: MESSAGE" become places to go to.
local function new_list(title)
  vim.fn.setqflist({}, " ", { title = title })
  local id = vim.fn.getqflist({ id = 0 }).id
  return function(text)
    vim.fn.setqflist({}, "a", { id = id, lines = vim.split(text, "\n"), efm = "%f:%l: %m" })
  end
end

local going_on = {} -- how many runs have events to come, by the descriptor that tells of them

-- Delivers events in the editor's main loop whenever `run` has some, until it has ended. The runs of
-- a store share a descriptor, which libuv watches once; it stays readable until the events are taken,
-- so it is not watched in the meantime.
local function watch(run)
  local fd = run:fd()
  going_on[fd] = (going_on[fd] or 0) + 1
  run:on(function(event)
    if event.event == "run_finished" then going_on[fd] = going_on[fd] - 1 end
  end)
  if going_on[fd] > 1 then return end
  local handle = vim.loop.new_poll(fd)
  local function wait()
    handle:start("r", function()
      handle:stop()
      vim.schedule(function()
        wait()
        luaflow.poll(BUDGET)
        vim.cmd "redrawstatus!"
        if going_on[fd] == 0 then handle:close() end
      end)
    end)
  end
  wait()
end

local function start(file)
  luaflow = luaflow or require "luaflow"
  local add_to_list = new_list("LuaflowRun " .. file)
  local run, problem = luaflow.start(file)
  if not run then
    set_status("%s cannot start", file)
    return add_to_list(problem)
  end
  local started, done = 0, 0
  run:on(function(event)
    if event.event == "task_started" then
      started = started + 1
    elseif event.event == "task_finished" then
      done = done + 1
    elseif event.event == "line" then
      add_to_list(event.text)
    elseif event.event == "task_failed" then
      add_to_list(event.message)
    end
    set_status("%s %s %d/%d", run.pathspec, event.status or "running", done, started)
  end)
  watch(run)
  set_status("%s running", run.pathspec)
end

vim.api.nvim_create_user_command("LuaflowRun", function(command) start(command.args) end,
  { nargs = 1, complete = "file", desc = "Runs a flow while you go on editing" })
