-- Bakes a picture while the window stays alive: a bar shows how far it is, then the picture shows.
--
--     love examples/love [FLOW.lua]
--
-- Steps run on luaflow's own threads, in Lua states of their own, so none of them sees `love`. What
-- happens there is told as events, on this thread, when it polls.
local luaflow = require "luaflow"

local BUDGET = 0.002 -- seconds of a frame that luaflow may have

local run, picture, problem
local total, done = 0, 0 -- tiles

local function on_event(event)
  if event.event == "task_finished" and event.step == "start" then
    total = #run:step("start").task.data.tiles
  elseif event.event == "task_finished" and event.step == "render" then
    done = done + 1
  elseif event.event == "task_failed" then
    problem = event.message
  elseif event.event == "run_finished" and event.status == "done" then
    picture = love.graphics.newImage(love.filesystem.newFileData(run.data.image, "picture.png"))
  end
end

function love.load(arguments)
  local flow = arguments[1] or love.filesystem.getSource() .. "/../../flows/bake.lua"
  love.filesystem.createDirectory("bake") -- a game may write there, and nowhere else
  local directory = love.filesystem.getSaveDirectory() .. "/bake"
  run, problem = luaflow.start(flow, {
    store = directory .. "/.luaflow",
    params = { out = directory .. "/picture.png" },
    max_workers = math.max(1, love.system.getProcessorCount() - 1), -- one core is the game's
  })
  if run then run:on(on_event) end
end

function love.update()
  if run then run:poll(BUDGET) end
end

function love.draw()
  local width, height = love.graphics.getDimensions()
  if problem then
    love.graphics.printf(problem, 20, 20, width - 40)
  elseif picture then
    love.graphics.draw(picture)
  else
    love.graphics.rectangle("line", 40.5, height / 2 - 10.5, width - 80, 20)
    love.graphics.rectangle("fill", 40, height / 2 - 10, (width - 80) * done / math.max(1, total), 20)
  end
end

-- Tiles that are being rendered are finished and kept, the others are not begun: the state is closed
-- after this, and waits for them.
function love.quit()
  if run then run:cancel() end
end
