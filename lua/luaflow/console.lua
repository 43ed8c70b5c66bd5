--- What `run` shows of the events it hears: lines for people, or JSON for programs.
--- Host only. Knows nothing of where the text goes: it is given functions that write.
local console = {}

-- ---- text -----------------------------------------------------------------------

local stamped_second, stamped_text

-- Local time with milliseconds. Most lines share their second with the one before.
local function stamp(time)
  local second = math.floor(time)
  local ms = math.floor((time - second) * 1000)
  if second ~= stamped_second then
    stamped_second, stamped_text = second, os.date("%Y-%m-%d %H:%M:%S", second)
  end
  return ("%s.%03d"):format(stamped_text, ms)
end
console.stamp = stamp

local function caret(c)
  if c == "\127" then return "^?" end
  return "^" .. string.char(c:byte() + 64)
end

local function hex(c) return ("\\x%02X"):format(c:byte(#c)) end

local function plain_line(text)
  text = text:gsub("[%z\1-\8\10-\31\127]", caret):gsub("\194[\128-\159]", hex)
  if text:find("[\128-\255]") and not require("luaflow.json").is_utf8(text) then
    text = text:gsub("[\128-\255]", hex)
  end
  return text
end

local function coloured_line(text)
  local parts, at = {}, 1
  for before, colour, after in text:gmatch("()(\27%[[%d;:]*m)()") do
    parts[#parts + 1] = plain_line(text:sub(at, before - 1)) .. colour
    at = after
  end
  if at == 1 then return plain_line(text) end
  return table.concat(parts) .. plain_line(text:sub(at)) .. "\27[0m"
end

local function each_line_of(text, make)
  if not text:find("[%c\128-\255]") then return text end
  return (text:gsub("[^\n]+", make))
end

--- `text` with what would steer a terminal made visible, as `^[` or `\x9B`. Tabs and
--- newlines stay.
function console.plain(text) return each_line_of(text, plain_line) end

--- The same for what steps print: colours stay too, and none outlives its line.
function console.visible(text) return each_line_of(text, coloured_line) end

--- `text`, cut at a whole character after at most `limit` bytes.
function console.cut(text, limit)
  if #text <= limit then return text end
  while limit > 0 and text:find("^[\128-\191]", limit + 1) do limit = limit - 1 end
  return text:sub(1, limit) .. "…"
end

local function plural(n, noun) return ("%d %s%s"):format(n, noun, n == 1 and "" or "s") end
console.plural = plural

-- Calls `each` with every line of a message or a traceback.
local function each_line(text, each)
  for line in (text:gsub("\n$", "") .. "\n"):gmatch("(.-)\n") do each(line) end
end

-- A number of seconds without what multiplying leaves far behind the point: 0.6 for
-- 0.6000000000000001.
local function to_microseconds(n) return math.floor(n * 1e6 + 0.5) / 1e6 end

--- A number of seconds as a message says it: `10 s`, `0.3 s`.
local function seconds(n) return ("%.14g s"):format(to_microseconds(n)) end

--- How a run ended, for its last line: `3 steps never ran` and the like.
local function outcome(event, never_ran)
  local counts, parts = event.counts or {}, {}
  if event.message then parts[1] = event.message:gsub("%.$", "") end
  if event.status == "interrupted" then
    parts[#parts + 1] = plural(counts.done or 0, "task") .. " done"
  end
  if (counts.failed or 0) > 0 then parts[#parts + 1] = plural(counts.failed, "task") .. " failed" end
  if never_ran > 0 then parts[#parts + 1] = plural(never_ran, "step") .. " never ran" end
  if (counts.reused or 0) > 0 then parts[#parts + 1] = plural(counts.reused, "task") .. " reused" end
  local how = event.status == "interrupted" and "was interrupted" or "failed"
  local detail = #parts > 0 and ": " .. table.concat(parts, ", ") or ""
  return ("Run %d %s%s. Resume with:"):format(event.run, how, detail)
end

-- ---- counting -------------------------------------------------------------------

-- What is going on in the run, step by step, as far as events told.
local Tally = {}
Tally.__index = Tally

local function new_tally(n_steps)
  return setmetatable({
    n_steps = n_steps,
    steps = {},
    seen = 0,
    waiting = {}, -- task → when it is tried again
  }, Tally)
end

function Tally:step(name)
  local step = self.steps[name]
  if step == nil then
    step = { started = 0, done = 0, failed = 0 }
    self.steps[name] = step
    self.seen = self.seen + 1
  end
  return step
end

local tally_of = {
  task_started = function(step, event) if event.attempt == 0 then step.started = step.started + 1 end end,
  task_finished = function(step) step.done = step.done + 1 end,
  task_failed = function(step) step.failed = step.failed + 1 end,
  task_reused = function(step) step.started, step.done = step.started + 1, step.done + 1 end,
  progress = function(step, event)
    step.started, step.done, step.failed = event.counts.started, event.counts.done, event.counts.failed
  end,
}

function Tally:add(event)
  if event.step == nil then return end
  local step, count = self:step(event.step), tally_of[event.event]
  if count then count(step, event) end
  if event.event == "task_retrying" then
    self.waiting[event.task] = event.time + (event.delay or 0)
  elseif event.event == "task_started" then
    self.waiting[event.task] = nil
  end
end

-- How many tasks wait to be tried again. That one has begun is not told of a step with many.
function Tally:count_waiting(now)
  local n = 0
  for task, due in pairs(self.waiting) do
    if due > now then n = n + 1 else self.waiting[task] = nil end
  end
  return n
end

-- done, failed, running, waiting to be tried again; over all steps.
function Tally:total(now)
  local started, done, failed, waiting = 0, 0, 0, self:count_waiting(now)
  for _, step in pairs(self.steps) do
    started, done, failed = started + step.started, done + step.done, failed + step.failed
  end
  return done, failed, math.max(0, started - done - failed - waiting), waiting
end

-- What the first Ctrl-C leads to.
local function interruption(tally, now)
  local _, _, running, waiting = tally:total(now)
  local text = "Interrupted: no further task is started."
  if running > 0 then
    text = ("Interrupted: waiting for %s to end; press Ctrl-C again to abandon %s."):format(
      plural(running, "running task"), running == 1 and "it" or "them")
  end
  if waiting == 0 then return text end
  return ("%s %s waiting for another attempt, which a resumed run will make."):format(
    text, waiting == 1 and "1 task was" or plural(waiting, "task") .. " were")
end

-- ---- for people -----------------------------------------------------------------

local Console = {}
Console.__index = Console

local REDRAW_SECONDS = 0.1

--- A console for one run.
---   write(text), write_status(text): to stdout, to stderr
---   now(): the clock; width(): the terminal's columns
---   is_terminal, has_status, has_colours, is_raw, is_quiet
---   explains: also say why each task of a resumed run was reused or runs
---   steps: how many the flow has; attempts: { [step] = how often it is tried }
---   file: the flow's; show_value(bytes): canonical bytes as a short text
---   resume(run), logs(event): the commands that resume a run and show a task's log, or nil
function console.new(options)
  return setmetatable({
    options = options,
    tally = new_tally(options.steps),
    pending = {},
    has_status = options.has_status and not options.is_quiet,
    last_draw = 0,
    started_at = options.now(),
  }, Console)
end

function Console:paint(code, text)
  if not self.options.has_colours then return text end
  return "\27[" .. code .. "m" .. text .. "\27[0m"
end

function Console:clean(text)
  if not self.options.is_terminal or self.options.is_raw then return text end
  return console.visible(text)
end

function Console:put(time, text)
  local pending = self.pending
  pending[#pending + 1] = self:paint("2", stamp(time)) .. " " .. text .. "\n"
end

--- One of luaflow's own lines, now.
function Console:say(text) self:put(self.options.now(), text) end

--- A line that is not a message but something to copy.
function Console:quote(text) self.pending[#self.pending + 1] = "    " .. text .. "\n" end

-- `[run/step/task (worker N)]`
local function bracket(event)
  local place = ("%d/%s/%d"):format(event.run, event.step, event.task)
  if event.pid then return ("[%s (pid %d)] "):format(place, event.pid) end
  if event.worker then return ("[%s (worker %d)] "):format(place, event.worker) end
  return "[" .. place .. "] "
end

-- Which element of a foreach failed; nil outside of one. An event has no input that is large.
local function element(event, show_value)
  local index = event.path:match(".*%[(%d+)%]")
  if index == nil then return nil end
  local input = event.input and show_value(event.input) or "too large to be shown here"
  return ("Path %s, index %s, input %s"):format(event.path, index, input)
end

-- What failed, for whoever has to mend it.
function Console:failure(event)
  local place = bracket(event)
  local function put(line) self:put(event.time, place .. self:paint("31", self:clean(line))) end
  local message = event.message or "no message"
  local which = element(event, self.options.show_value)
  put("Task failed.")
  each_line(message, put)
  if which then put(which) end
  for _, line in ipairs(require("luaflow.excerpt").of(message, event.traceback, self.options.file) or {}) do
    put(line)
  end
  if event.traceback and event.traceback ~= "" then each_line(event.traceback, put) end
end

-- A line of luaflow's own about a task, and why it is so if that is to be told.
function Console:about(event, text)
  local explains = self.options.explains and event.reason ~= nil
  if self.options.is_quiet and not explains then return end
  self:put(event.time, bracket(event) .. text .. (explains and ": " .. event.reason or "") .. ".")
end

local shows = {}

function shows.run_started(self, event)
  self.started_at = event.time
  if self.options.is_quiet then return end
  self:put(event.time, ("Workflow starting (run-id %d)"):format(event.run))
end

function shows.task_started(self, event) self:about(event, "Task is starting") end

function shows.line(self, event)
  self:put(event.time, bracket(event) .. self:clean(event.text))
end

function shows.task_finished(self, event)
  if event.message then
    self:put(event.time, bracket(event) .. self:clean("Task failed and was caught: " .. event.message:match("^[^\n]*")))
  end
  self:about(event, "Task finished successfully")
end

function shows.task_failed(self, event)
  self:failure(event)
  if self.options.logs then
    self:put(event.time, bracket(event) .. "See what it printed: " .. self.options.logs(event))
  end
end

function shows.task_retrying(self, event)
  self:failure(event)
  local wait = event.delay and event.delay > 0 and " in " .. seconds(event.delay) or ""
  local of = self.options.attempts[event.step]
  self:put(event.time, ("%sRetrying%s (attempt %d%s)."):format(
    bracket(event), wait, event.attempt + 2, of and (" of %d"):format(of) or "")) -- counted from 1
end

function shows.task_reused(self, event) self:about(event, "Task reused") end

function shows.progress(self, event)
  if self.options.is_quiet then return end
  local counts = event.counts
  local running = math.max(0, counts.started - counts.done - counts.failed)
  local reused = (counts.reused or 0) > 0 and (" (%d reused)"):format(counts.reused) or ""
  self:put(event.time, ("Step %s: %d done%s, %d running, %d failed."):format(
    event.step, counts.done, reused, running, counts.failed))
end

function shows.run_finished(self, event)
  if event.status == "done" then
    if self.options.is_quiet then return end
    local counts = event.counts
    local reused = counts.reused > 0 and (" %d of them reused."):format(counts.reused) or ""
    self:put(event.time, self:paint("32", ("Done! %s in %.3f s.%s"):format(
      plural(counts.done, "task"), math.max(0, event.time - self.started_at), reused)))
    return
  end
  local never_ran = math.max(0, self.tally.n_steps - self.tally.seen)
  self:put(event.time, self:paint("31", self:clean(outcome(event, never_ran))))
  self:quote(self.options.resume(event.run))
end

--- Takes one event, as luaflow.core delivers it.
function Console:event(event)
  self.run = event.run
  self.tally:add(event)
  local show = shows[event.event]
  if show then show(self, event) end
end

--- The first Ctrl-C was heard.
function Console:interrupted()
  self:say(interruption(self.tally, self.options.now()))
end

--- The second one was: the process is about to end.
function Console:abandoned(run)
  local _, _, running = self.tally:total(self.options.now())
  local what = running > 0 and plural(running, "running task") .. " of " or ""
  self:say(("Abandoned %srun %d. Resume with:"):format(what, run))
  self:quote(self.options.resume(run))
end

function Console:clear_status()
  if not self.is_drawn then return end
  self.options.write_status("\r\27[K")
  self.is_drawn = false
end

function Console:draw_status(now)
  local done, failed, running = self.tally:total(now)
  local rate = done / math.max(now - self.started_at, 0.001)
  local text = ("run %d: %d of %s begun, %d done, %d running, %d failed, %.1f tasks/s"):format(
    self.run, self.tally.seen, plural(self.tally.n_steps, "step"), done, running, failed, rate)
  self.options.write_status("\r" .. text:sub(1, self.options.width() - 1) .. "\27[K")
  self.is_drawn, self.last_draw = true, now
end

--- Writes what has gathered. Call it whenever no event waits; with a status line also
--- now and then, so that it moves.
function Console:flush()
  if #self.pending > 0 then
    self:clear_status()
    local text = table.concat(self.pending)
    self.pending = {}
    self.options.write(text)
  end
  if not self.has_status or self.run == nil then return end
  local now = self.options.now()
  if now - self.last_draw >= REDRAW_SECONDS then self:draw_status(now) end
end

--- The last flush: no status line stays behind.
function Console:close()
  self.has_status = false
  self:flush()
  self:clear_status()
end

-- ---- for programs ---------------------------------------------------------------

local Journal = {}
Journal.__index = Journal

local FIELDS = {
  "event", "run", "step", "task", "path", "attempt", "time",
  "stream", "text", "message", "traceback", "delay", "reason", "status",
}

--- One JSON object per event and line. Takes console.new's options; hints go to
--- `write_status`.
function console.journal(options)
  return setmetatable({
    json = require "luaflow.json",
    options = options,
    tally = new_tally(options.steps),
    pending = {},
  }, Journal)
end

function Journal:put(event)
  self.pending[#self.pending + 1] = self.json.encode(self.json.ordered(FIELDS, event)) .. "\n"
end

function Journal:event(event)
  self.tally:add(event)
  if event.event == "progress" then return end
  if event.delay then event.delay = to_microseconds(event.delay) end
  self:put(event)
  if event.event == "run_finished" and event.status ~= "done" then
    local never_ran = math.max(0, self.tally.n_steps - self.tally.seen)
    self.hint = outcome(event, never_ran) .. "\n    " .. self.options.resume(event.run) .. "\n"
  end
end

function Journal:interrupted()
  self.options.write_status(interruption(self.tally, self.options.now()) .. "\n")
end

function Journal:abandoned(run)
  self.hint = ("Abandoned run %d. Resume with:\n    %s\n"):format(run, self.options.resume(run))
end

function Journal:flush()
  if #self.pending == 0 then return end
  local text = table.concat(self.pending)
  self.pending = {}
  self.options.write(text)
end

function Journal:close()
  self:flush()
  if self.hint then self.options.write_status(self.hint) end
end

return console
