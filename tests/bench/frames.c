/* frames.c -- a game that runs a flow beside its frames: how long does luaflow_poll keep it?
 *
 *     frames STORE FLOW TASKS FRAMES
 *
 * prints the median, the 99.9th percentile and the greatest of what FRAMES calls took: seconds of
 * luaflow_poll, the processor's seconds in it, seconds of the limit.
 *
 * Each frame gives luaflow_poll one millisecond and sleeps as long. Two workers run a foreach of
 * TASKS, again when it has ended; every start and every end of a task is told, and the game does
 * something with it for two microseconds. So there is always more to tell than there is time for.
 * The limit looks at the clock until that millisecond is over, beside two threads that only count:
 * what it takes longer is the machine's, which may have fewer processors than there are threads. */
#include "bench.h"

#include <luaflow.h>
#include <pthread.h>
#include <stdatomic.h>

#define BUDGET   0.001
#define CALLBACK 0.000002

enum { WORKERS = 2 };

static void must(int rc, luaflow_error *err)
{
    if (rc == LUAFLOW_OK)
        return;
    fprintf(stderr, "bench: %s\n", luaflow_error_text(err));
    exit(1);
}

static void rest(void)
{
    struct timespec frame = {0, (long)(BUDGET * 1e9)};
    nanosleep(&frame, NULL);
}

/* ---- ours ---- */

static void hear(void *heard, const luaflow_event *event)
{
    (void)event;
    ++*(size_t *)heard;
    for (double started = now(); now() - started < CALLBACK;)
        continue;
}

static luaflow_run *start(luaflow *rt, luaflow_flow *flow, const char *tasks, size_t *heard)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_param n = {.name = "n", .text = tasks};
    luaflow_run_options options = LUAFLOW_RUN_OPTIONS_INIT;
    options.params = &n;
    options.n_params = 1;
    options.max_workers = WORKERS;
    options.on_event = hear;
    options.payload = heard;
    luaflow_run *run;
    must(luaflow_start(rt, flow, &options, &run, &err), &err);
    return run;
}

/* Seconds that the processor spent on this thread. */
static double spent(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct game {
    const char *store, *flow, *tasks;
} game;

static void measure_polls(const game *g, double *took, double *worked, size_t n)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_options options = LUAFLOW_OPTIONS_INIT;
    options.store = g->store;
    options.create = true;
    luaflow *rt;
    luaflow_flow *flow;
    must(luaflow_open(&options, &rt, &err), &err);
    must(luaflow_flow_load(g->flow, NULL, &flow, &err), &err);
    size_t heard = 0;
    luaflow_run *run = start(rt, flow, g->tasks, &heard);
    for (size_t i = 0; i < n; i++) {
        double started = now(), before = spent();
        luaflow_poll(rt, BUDGET);
        worked[i] = spent() - before;
        took[i] = now() - started;
        if (luaflow_run_status(run) != LUAFLOW_RUNNING) {
            luaflow_run_close(run);
            run = start(rt, flow, g->tasks, &heard);
        }
        rest();
    }
    luaflow_run_close(run);
    luaflow_flow_close(flow);
    luaflow_close(rt);
    check(heard < n ? EIO : 0, "hear of the tasks");
}

/* ---- the limit ---- */

static atomic_bool over;

static void *keep_busy(void *unused)
{
    while (!atomic_load_explicit(&over, memory_order_relaxed))
        continue;
    return unused;
}

static void measure_clock(double *took, size_t n)
{
    pthread_t threads[WORKERS];
    for (size_t i = 0; i < WORKERS; i++)
        check(pthread_create(&threads[i], NULL, keep_busy, NULL), "start a thread");
    for (size_t i = 0; i < n; i++) {
        double started = now();
        do
            took[i] = now() - started;
        while (took[i] < BUDGET);
        rest();
    }
    atomic_store(&over, true);
    for (size_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
}

/* ---- both ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_percentiles(double *took, size_t n)
{
    qsort(took, n, sizeof *took, by_size);
    printf("%.9f %.9f %.9f\n", took[n / 2], took[n - 1 - n / 1000], took[n - 1]);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: frames STORE FLOW TASKS FRAMES\n");
        return 2;
    }
    size_t n = number_of(argv[4]);
    game g = {argv[1], argv[2], argv[3]};
    double *took = take_memory(n * sizeof *took), *worked = take_memory(n * sizeof *worked);
    measure_polls(&g, took, worked, n);
    print_percentiles(took, n);
    print_percentiles(worked, n);
    measure_clock(took, n);
    print_percentiles(took, n);
    free(took);
    free(worked);
    return 0;
}
