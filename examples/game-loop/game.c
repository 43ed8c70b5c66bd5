/* game.c -- a game that bakes the light of its level while it is played. Steps run on threads of
 * luaflow's own, at lower priority; the game's thread hears of them once a frame, for a millisecond at most.
 *
 *     cc -o game game.c $(pkg-config --cflags --libs luaflow)
 *     ./game level.lua */
#define _GNU_SOURCE
#include <luaflow.h>

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

enum { FRAME_NS = 1000000000 / 60 };
static const double BUDGET = 0.001; /* seconds of a frame that luaflow may have */

typedef struct game {
    int tiles;      /* of the level's light that are baked */
    double worst;   /* seconds of this thread's own time that a frame gave to luaflow, at most */
    long frames;
} game;

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Inside luaflow_poll, on the game's thread: it may change the game's things without a lock. */
static void on_event(void *payload, const luaflow_event *event)
{
    game *g = payload;
    if (event->type == LUAFLOW_PROGRESS)
        g->tiles = (int)(event->counts.done);
    if (event->type == LUAFLOW_TASK_FAILED)
        fprintf(stderr, "%s: %s\n", event->path, event->message);
}

/* Workers are to have what the game leaves them: on Linux a thread has a priority of its own. */
static int on_state(void *payload, struct lua_State *L, luaflow_error *err)
{
    (void)payload, (void)L, (void)err;
    setpriority(PRIO_PROCESS, 0, 10);
    return LUAFLOW_OK;
}

static void simulate_and_draw(game *g) { g->frames++; }

static void play(luaflow *rt, luaflow_run *bake, game *g)
{
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    while (luaflow_run_status(bake) == LUAFLOW_RUNNING) {
        simulate_and_draw(g);
        double before = now(CLOCK_THREAD_CPUTIME_ID);
        luaflow_poll(rt, BUDGET);
        double took = now(CLOCK_THREAD_CPUTIME_ID) - before;
        g->worst = took > g->worst ? took : g->worst;
        next.tv_nsec += FRAME_NS;
        if (next.tv_nsec >= 1000000000) {
            next.tv_nsec -= 1000000000;
            next.tv_sec++;
        }
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL) == EINTR)
            continue;
    }
}

int main(int argc, char **argv)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_options options = LUAFLOW_OPTIONS_INIT;
    luaflow_run_options run_options = LUAFLOW_RUN_OPTIONS_INIT;
    game g = {0};
    luaflow_flow *flow = NULL;
    luaflow *rt = NULL;
    luaflow_run *bake = NULL;
    void *bytes = NULL;
    size_t size;
    options.store = ".luaflow";
    options.create = true;
    options.on_state = on_state;
    run_options.on_event = on_event;
    run_options.payload = &g;
    run_options.progress_after = 1; /* counts of tiles rather than two events for each */
    int rc = luaflow_flow_load(argc > 1 ? argv[1] : "level.lua", NULL, &flow, &err);
    if (rc == LUAFLOW_OK)
        rc = luaflow_open(&options, &rt, &err);
    if (rc == LUAFLOW_OK)
        rc = luaflow_start(rt, flow, &run_options, &bake, &err);
    if (rc == LUAFLOW_OK) {
        play(rt, bake, &g);
        rc = luaflow_run_artifact(bake, "light", &bytes, &size, &err); /* as canonical bytes */
    }
    if (rc == LUAFLOW_OK)
        printf("%d tiles, %zu bytes of light, %ld frames, %.3f ms of one at most\n", g.tiles, size,
               g.frames, g.worst * 1e3);
    else
        fprintf(stderr, "%s\n", luaflow_error_text(&err));
    luaflow_free(bytes);
    luaflow_error_clear(&err);
    luaflow_run_close(bake);
    luaflow_close(rt);
    luaflow_flow_close(flow);
    return rc == LUAFLOW_OK ? 0 : 1;
}
