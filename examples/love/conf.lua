-- The window is as large as the picture that flows/bake.lua makes.
function love.conf(t)
  t.identity = "luaflow-bake"
  t.window.title = "luaflow"
  t.window.width, t.window.height = 480, 300
  t.modules.audio, t.modules.joystick, t.modules.physics = false, false, false
end
