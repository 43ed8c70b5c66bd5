#!/usr/bin/env luajit
-- The example for LÖVE, on a screen of its own: what the window shows while a picture is baked, and then.
local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "?.lua;" .. here .. "../install/?.lua;" .. here .. "../flows/?.lua;" .. package.path
local support = require "support"
local screen = require "screen"
local tree = require "tree"
local test, check, equal = support.test, support.check, support.equal

local WIDTH, HEIGHT = 480, 300

-- flows/bake.lua, quick and rough, whose tiles from the 21st of 40 on wait until they may go on.
local function held_bake(w)
  return w.dir .. "/" .. w:write("held.lua", ([[
    local ffi = require "ffi"
    pcall(ffi.cdef, "int usleep(unsigned int microseconds);")
    package.path = "ROOT/flows/?.lua;" .. package.path
    local flow = dofile("ROOT/flows/bake.lua")
    flow.params.samples.default = 1
    local render = flow.steps.render[1]
    flow.steps.render[1] = function(self)
      while self.index > 20 and not io.open("DIR/go") do ffi.C.usleep(10000) end
      render(self)
    end
    return flow
  ]]):gsub("%u+", { ROOT = support.root, DIR = w.dir }))
end

-- The pixels of an uncompressed PNG file, as Screen:look gives them.
local function pixels_of(png)
  local data, at = {}, 9
  while at < #png do
    local a, b, c, d = png:byte(at, at + 3)
    local size = ((a * 256 + b) * 256 + c) * 256 + d
    if png:sub(at + 4, at + 7) == "IDAT" then data[#data + 1] = png:sub(at + 8, at + 7 + size) end
    at = at + size + 12
  end
  local stream, rows = table.concat(data), {}
  at = 3
  repeat
    local last, low, high = stream:byte(at, at + 2)
    rows[#rows + 1] = stream:sub(at + 5, at + 4 + low + high * 256)
    at = at + 5 + low + high * 256
  until last == 1
  local bytes = table.concat(rows)
  return function(x, y)
    local from = y * (WIDTH * 3 + 1) + 2 + x * 3
    return bytes:byte(from, from + 2)
  end
end

local function is_bright(look, x, y) return look(x, y) > 200 end

-- The bar is full up to its middle, and no further.
local function is_half_full(look)
  local y = HEIGHT / 2
  return is_bright(look, 50, y) and is_bright(look, WIDTH / 2 - 10, y) and not is_bright(look, WIDTH / 2 + 10, y)
    and not is_bright(look, WIDTH - 50, y)
end

-- Whether the pixels of both are the same, at every seventh place.
local function is_same(look, picture)
  for y = 0, HEIGHT - 1, 7 do
    for x = 0, WIDTH - 1, 7 do
      local r, g, b = look(x, y)
      local red, green, blue = picture(x, y)
      if r ~= red or g ~= green or b ~= blue then return false end
    end
  end
  return true
end

-- Starts it with arguments, calls `body` with its screen, and closes its window. Gives its exit code.
local function with_love(w, arguments, body)
  local prefix = tree.install(w)
  local module = tree.directory(tree.find(w, prefix, "luaflow.so"))
  local on = screen.open(w, WIDTH, HEIGHT)
  w:write("love.sh", ([[
    export DISPLAY=%s LIBGL_ALWAYS_SOFTWARE=1 HOME="$PWD" XDG_DATA_HOME="$PWD/data" LUA_CPATH='%s/?.so'
    timeout -k 5 60 love '%s/examples/love' %s &
    echo $! >pid
    wait $!
    echo $? >code
  ]]):format(on.display, module, support.root, arguments))
  w:shell(("(%s >love.log 2>&1 </dev/null &)"):format(tree.plainly("sh love.sh")))
  local ok, message = pcall(body, on)
  w:shell("kill -TERM $(cat pid)")
  w:write("go", "")
  local code = support.wait_for("LÖVE to end", function() return (w:read("code") or ""):match("^(%d+)\n") end)
  on:close()
  check(ok, tostring(message) .. "\n" .. w:read("love.log"))
  return tonumber(code)
end

-- The store of the game, once it has started.
local function store_of(w) return w.dir .. "/data/love/luaflow-bake/bake/.luaflow" end

test("LÖVE shows a bar that grows while the picture is baked, then the picture", function(w)
  with_love(w, held_bake(w), function(on)
    support.wait_for("half of a bar", function() return is_half_full(on:look()) end)
    w:write("go", "")
    support.wait_for("the artifact", function()
      return w:luaflow("get", "last/image", "--store", store_of(w), "-o", "again.png").code == 0
    end)
    local picture = pixels_of(w:read("again.png"))
    support.wait_for("the picture", function() return is_same(on:look(), picture) end)
    equal(w:json("runs", "--store", store_of(w)).runs[1].status, "done")
  end)
end)

test("the game finds flows/bake.lua, and can be left while that runs", function(w)
  local code = with_love(w, "", function(on)
    support.wait_for("a bar or a picture", function() return on:look()(45, HEIGHT / 2) > 0 end)
  end)
  equal(code, 0)
  local status = w:json("runs", "--store", store_of(w)).runs[1].status
  check(status == "interrupted" or status == "done", "it is closed, or is done already: " .. status)
end)

support.done()
