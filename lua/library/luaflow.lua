---@meta luaflow
-- What an editor completes and checks: require "luaflow", its objects, and a flow's table. For
-- lua-language-server ("workspace.library"); nobody runs it.
--
--     ---@type luaflow.FlowTable
--     return { steps = { start = function(self) print "hello" end } }

---A value that can be an artifact: nil, boolean, number, string, table of such values, `int64_t`, `uint64_t`, a
---one-dimensional FFI array of numbers, or an instance of a class that `luaflow.register` knows.
---@alias luaflow.Value any

-- ---- a flow's table -------------------------------------------------------------------

---What a flow's file returns.
---@class (exact) luaflow.FlowTable
---@field name? string  default: the base name of the file
---@field doc? string
---@field params? table<string, luaflow.Parameter>
---@field steps table<string, luaflow.StepTable|luaflow.StepFunction>  the first is `start`, the last has no `next`

---@class (exact) luaflow.Parameter
---@field type? "string"|"number"|"integer"|"boolean"|"json"|"file"  default: that of the default, else "string"
---@field default? luaflow.Value|fun(): luaflow.Value  a function is called once, at the start of the run
---@field required? boolean
---@field help? string
---@field separator? string  makes it a list
---@field choices? (string|number)[]  the values that are allowed

---What a step does. With `inputs` it is a join.
---@alias luaflow.StepFunction fun(self: luaflow.Self)|fun(self: luaflow.Self, inputs: luaflow.Inputs)

---@class (exact) luaflow.StepTable
---@field [1]? luaflow.StepFunction  none: what comes in is passed on
---@field doc? string
---@field next? string|string[]|table<string|number|boolean, string>  a step, those of a branch, a switch's cases
---@field foreach? string  the artifact or parameter that has an element, or the number, for each task of `next`
---@field switch? string  the artifact or parameter that has the key of the case in `next`
---@field retry? integer|luaflow.Retry  how many attempts more after a failure
---@field catch? string  the artifact that has the failure when all attempts failed, and the task succeeds
---@field timeout? number  seconds for an attempt
---@field isolate? boolean  in a process of its own
---@field env? table<string, string>
---@field resources? luaflow.Resources
---@field max_parallel? integer  at most so many of its tasks at once

---@class (exact) luaflow.Retry
---@field times integer
---@field delay? number  seconds
---@field backoff? number  what the delay is multiplied with after each attempt

---@class (exact) luaflow.Resources
---@field cpu? number  counts against max_workers
---@field memory? number
---@field gpu? number

---@class luaflow.ForeachLevel
---@field step string
---@field index integer
---@field size integer
---@field input luaflow.Value

---What a step is given. Fields are artifacts and parameters; those with a `_` in front are never stored.
---@class luaflow.Self
---@field input luaflow.Value  the element of the foreach around it
---@field index integer?  its place, from 1
---@field [string] luaflow.Value
local Self = {}

---Whether there is an artifact.
---@param name string
---@return boolean
function Self:has(name) end

---An artifact, or `default` where there is none.
---@param name string
---@param default? luaflow.Value
---@return luaflow.Value
function Self:get(name, default) end

---The foreaches around this task, the outermost first.
---@return luaflow.ForeachLevel[]
function Self:foreach_stack() end

---Passes on what the inputs of a join agree about.
---@param inputs luaflow.Inputs
---@param options? { include?: string[], exclude?: string[] }
function Self:merge_artifacts(inputs, options) end

---One of a join's inputs: the artifacts of a task before it, which cannot be changed.
---@class luaflow.Input
---@field [string] luaflow.Value
local Input = {}

---@param name string
---@return boolean
function Input:has(name) end

---@param name string
---@param default? luaflow.Value
---@return luaflow.Value
function Input:get(name, default) end

---The inputs of a join: of a branch in the order of its `next` and by name, of a foreach in index order.
---@class luaflow.Inputs
---@field [integer] luaflow.Input
---@field [string] luaflow.Input
local Inputs = {}

---The artifact `name` of every input.
---@param name string
---@param default? luaflow.Value  for those without it
---@return luaflow.Value[]
function Inputs:collect(name, default) end

---What `luaflow.current` has inside a step.
---@class luaflow.Current
---@field flow_name string
---@field run_id integer
---@field step_name string
---@field task_id integer
---@field pathspec string
---@field retry_count integer  from 0
---@field origin_run_id integer?
---@field tags string[]
---@field params table<string, luaflow.Value>
---@field store string

-- ---- running --------------------------------------------------------------------------

---@class (exact) luaflow.CommonOptions
---@field max_workers? integer  default: one per core
---@field max_num_splits? integer  default: 1,000,000
---@field progress_after? integer  past so many tasks of a step, `progress` stands for its single tasks' events
---@field tags? string[]
---@field tag? string
---@field with? table<string, number|boolean|string>  attributes for steps that have none of their own: { retry = 2 }
---@field store? string  its directory; default: that of luaflow.use
---@field executable? string  the luaflow command, which isolated steps run in
---@field keep_going? boolean  after a failure, run what does not depend on it
---@field on_event? fun(event: luaflow.Event)
---@field run_id_file? string  gets the id before the first task starts

---@class (exact) luaflow.RunOptions: luaflow.CommonOptions
---@field params? table<string, luaflow.Value>  values, or texts as on the command line
---@field seed? integer|string

---@class (exact) luaflow.ResumeOptions: luaflow.CommonOptions
---@field origin_run_id? integer  default: the flow's latest run
---@field step? string  it and all after it run again

---@class (exact) luaflow.StartOptions: luaflow.RunOptions, luaflow.ResumeOptions
---@field wait_for_host? boolean  steps wait for whoever polls, so that no event is lost

---@class luaflow.Counts
---@field started integer
---@field done integer
---@field failed integer
---@field reused integer

---@alias luaflow.EventName
---| "run_started"
---| "task_started"
---| "line"           # that a step printed
---| "task_finished"
---| "task_failed"    # its last attempt, not caught
---| "task_retrying"  # an attempt failed, another will follow
---| "task_reused"
---| "progress"       # of a step with many tasks
---| "run_finished"

---What happened. Which fields there are depends on `event`.
---@class luaflow.Event
---@field event luaflow.EventName
---@field run integer
---@field time number  seconds since 1970
---@field step? string
---@field task? integer
---@field path? string  the step and its place: "a[1]"
---@field attempt? integer  from 0
---@field worker? integer
---@field pid? integer  of an isolated task
---@field stream? "stdout"|"stderr"
---@field text? string  a line, without its newline
---@field message? string
---@field traceback? string
---@field delay? number  seconds until the next attempt
---@field reason? string  of a resumed run: why the task was reused, or runs
---@field status? luaflow.Status
---@field counts? luaflow.Counts

---@alias luaflow.Status "running"|"done"|"failed"|"interrupted"

-- ---- results --------------------------------------------------------------------------

---@class luaflow.Failure
---@field message string
---@field traceback? string

---The artifacts of a task, and the run's parameters; nil for what is not there.
---@class luaflow.Data
---@field [string] luaflow.Value

---@class luaflow.Flow
---@field id string
---@field name string
---@field pathspec string
---@field latest_run luaflow.Run?
---@field latest_successful_run luaflow.Run?
---@field created_at number  of its first run
---@field finished_at number?  of its latest run
local Flow = {}

---Its runs, newest first; with a tag, those that have it.
---@param tag? string
---@return fun(): luaflow.Run?
function Flow:runs(tag) end

---@param id integer|string
---@return luaflow.Run? run
---@return string? message
function Flow:run(id) end

---@class luaflow.Run
---@field id integer
---@field pathspec string
---@field flow_name string
---@field flow luaflow.Flow
---@field status luaflow.Status
---@field finished boolean
---@field successful boolean
---@field created_at number
---@field finished_at number?
---@field tags string[]
---@field origin_run_id integer?
---@field seed string
---@field counts luaflow.Counts
---@field params table<string, luaflow.Value>
---@field code string  the flow's source
---@field data luaflow.Data  of the last task that succeeded
---@field end_task luaflow.Task?  of the last step
---@field stdout string
---@field stderr string
---@field exception luaflow.Failure?
local Run = {}

---@return luaflow.Step[]? steps
---@return string? message
function Run:steps() end

---@param name string
---@return luaflow.Step? step
---@return string? message
function Run:step(name) end

---Its finished tasks.
---@return luaflow.Task[]? tasks
---@return string? message
function Run:tasks() end

---@param id integer
---@return luaflow.Task? task
---@return string? message
function Run:task(id) end

---@param ... string
---@return true? done
---@return string? message
function Run:add_tag(...) end

---@param ... string
---@return true? done
---@return string? message
function Run:remove_tag(...) end

---Delivers waiting events, for at most so many seconds. Never waits for any.
---@param seconds? number  default: 0.01
---@return integer delivered
---@return integer lost
function Run:poll(seconds) end

---Delivers events until it has ended, for at most so many seconds.
---@param seconds? number  default: without end
---@return boolean? ended
---@return string? message
function Run:wait(seconds) end

---Starts none of its tasks any more. It ends as interrupted.
---@return true? done
---@return string? message
function Run:cancel() end

---What the listener raises comes out of the poll or wait that delivers, be that another run's of
---the same store.
---@param listener fun(event: luaflow.Event)
---@return luaflow.Run? run
---@return string? message
function Run:on(listener) end

---A descriptor that is readable when events wait. Runs of a store share it: watch it once.
---@return integer? fd
---@return string? message
function Run:fd() end

---@class luaflow.Step
---@field id string
---@field name string
---@field pathspec string
---@field run luaflow.Run
---@field status luaflow.Status
---@field finished boolean
---@field successful boolean
---@field created_at number?
---@field finished_at number?
---@field tags string[]
---@field origin_run_id integer?
---@field counts luaflow.Counts
---@field code string
---@field task luaflow.Task?  the first
---@field data luaflow.Data?  of its only task
---@field stdout string
---@field stderr string
---@field exception luaflow.Failure?
local Step = {}

---Its finished tasks.
---@return luaflow.Task[]? tasks
---@return string? message
function Step:tasks() end

---@class luaflow.Task
---@field id integer
---@field pathspec string
---@field path string  the step and its place, the same in every run: "a[1]"
---@field index integer?  in the innermost foreach
---@field run luaflow.Run
---@field step luaflow.Step
---@field step_name string
---@field attempt integer  of its last attempt, from 0
---@field worker integer?
---@field status "done"|"failed"
---@field finished true
---@field successful boolean
---@field created_at number
---@field finished_at number
---@field tags string[]
---@field origin_run_id integer?  where it ran, if reused
---@field origin_task_id integer?
---@field code string
---@field data luaflow.Data
---@field stdout string
---@field stderr string
---@field exception luaflow.Failure?
local Task = {}

---All it passes on, by name.
---@return luaflow.Artifact[]? artifacts
---@return string? message
function Task:artifacts() end

---@param name string
---@return luaflow.Artifact? artifact
---@return string? message
function Task:artifact(name) end

---@return luaflow.Task[]? tasks
---@return string? message
function Task:parent_tasks() end

---@class luaflow.Attempt
---@field worker integer
---@field started_at number
---@field finished_at number
---@field message string
---@field traceback string

---The attempts that failed and were followed by another.
---@return luaflow.Attempt[]? attempts
---@return string? message
function Task:attempts() end

---@class luaflow.Artifact
---@field id string
---@field name string
---@field pathspec string
---@field task luaflow.Task
---@field data luaflow.Value
---@field size integer  of its canonical bytes
---@field inherited boolean  passed on, not written by its task
---@field created_at number
---@field finished_at number

-- ---- the module -----------------------------------------------------------------------

---@class luaflow
---@field version string
---@field current luaflow.Current?  inside a step
local luaflow = {}

---Like `pairs`, but in an order that is the same every time.
---@generic K, V
---@param t table<K, V>
---@return fun(): K, V
function luaflow.sorted_pairs(t) end

---Instances of `metatable` may be stored from here on.
---@generic T: table
---@param name string
---@param metatable T
---@return T metatable
function luaflow.register(name, metatable) end

---Runs a flow and returns when that has ended.
---@param flow string|luaflow.FlowTable
---@param options? luaflow.RunOptions
---@return luaflow.Run? run
---@return string? message  why it could not start
function luaflow.run(flow, options) end

---Starts a run and returns at once. With `origin_run_id` or `step` it resumes.
---@param flow string|luaflow.FlowTable
---@param options? luaflow.StartOptions
---@return luaflow.Run? run
---@return string? message
function luaflow.start(flow, options) end

---Runs what an earlier run has not done, and returns when that has ended.
---@param flow string|luaflow.FlowTable
---@param options? luaflow.ResumeOptions
---@return luaflow.Run? run
---@return string? message
function luaflow.resume(flow, options) end

---Checks a flow without running it.
---@param flow string|luaflow.FlowTable
---@param options? { with?: table<string, number|boolean|string> }
---@return true? ok
---@return table|string about  the flow as data, or every problem, one a line
function luaflow.check(flow, options) end

---Delivers waiting events of all runs, for at most so many seconds. Never waits for any.
---@param seconds? number  default: 0.01
---@return integer delivered
---@return integer lost
function luaflow.poll(seconds) end

---The store from here on; nil: the default one.
---@param directory? string
function luaflow.use(directory) end

---@param name string
---@return luaflow.Flow? flow
---@return string? message
function luaflow.Flow(name) end

---@param name string|integer  "ForeachFlow/3", 3, "ForeachFlow/last", "last"
---@return luaflow.Run? run
---@return string? message
function luaflow.Run(name) end

---@param name string  "ForeachFlow/3/a"
---@return luaflow.Step? step
---@return string? message
function luaflow.Step(name) end

---@param name string  "ForeachFlow/3/a/2"
---@return luaflow.Task? task
---@return string? message
function luaflow.Task(name) end

---@param name string  "ForeachFlow/3/a/2/title"; of a run's last task "ForeachFlow/3/title"
---@return luaflow.Artifact? artifact
---@return string? message
function luaflow.Artifact(name) end

return luaflow
