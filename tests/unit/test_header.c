/* luaflow.h stands alone: nothing is included before it, and this file is C11 to the letter. */
#include "luaflow.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

TEST(options_start_out_empty_and_know_their_size)
{
    luaflow_options o = LUAFLOW_OPTIONS_INIT;
    CHECK_INT(o.size, sizeof o);
    CHECK(o.store == NULL && !o.create && o.event_queue == 0 && !o.wait_for_host);
    CHECK(o.executable == NULL && o.on_state == NULL && o.state_payload == NULL);
    CHECK(o.on_log == NULL && o.log_payload == NULL);
    luaflow_run_options r = LUAFLOW_RUN_OPTIONS_INIT;
    CHECK_INT(r.size, sizeof r);
    CHECK(r.params == NULL && r.n_params == 0 && r.tags == NULL && r.n_tags == 0);
    CHECK(!r.has_seed && r.seed == 0 && r.max_workers == 0 && r.max_num_splits == 0);
    CHECK(r.progress_after == 0 && !r.keep_going && r.run_id_file == NULL);
    CHECK(r.on_event == NULL && r.payload == NULL);
    luaflow_flow_options f = LUAFLOW_FLOW_OPTIONS_INIT;
    CHECK_INT(f.size, sizeof f);
    CHECK(f.with == NULL && f.n_with == 0 && f.on_state == NULL && f.state_payload == NULL);
    luaflow_prune_options p = LUAFLOW_PRUNE_OPTIONS_INIT;
    CHECK_INT(p.size, sizeof p);
    CHECK(p.keep == 0 && p.flow == NULL && p.older_than == 0 && !p.dry_run);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK(err.code == LUAFLOW_OK && err.message == NULL);
}

TEST(the_version_is_told_in_words_and_in_numbers)
{
    char words[32];
    snprintf(words, sizeof words, "%d.%d.%d", LUAFLOW_VERSION_MAJOR, LUAFLOW_VERSION_MINOR, LUAFLOW_VERSION_PATCH);
    CHECK_STR(LUAFLOW_VERSION, words);
    CHECK_STR(luaflow_version(), words);
}

/* Where the example of the header has its store and its flow. */
static char store[64], titles[64];

static void complain(const char *text) { fail_msg("%s", text); }

TEST(the_example_in_the_header_does_what_it_says)
{
    char base[] = "/tmp/test_header.XXXXXX", line[96];
    CHECK(mkdtemp(base) != NULL);
    snprintf(store, sizeof store, "%s/s", base);
    snprintf(titles, sizeof titles, "%s/titles.lua", base);
    FILE *file = fopen(titles, "w");
    CHECK(file != NULL);
    fputs("return { steps = { start = function(self) self.results = 'x' end } }", file);
    fclose(file);

    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_options open = LUAFLOW_OPTIONS_INIT;
    luaflow *rt = NULL;
    luaflow_flow *flow = NULL;
    luaflow_run *run = NULL;
    void *bytes = NULL;
    size_t size = 0;
    open.store = store;
    open.create = true;
    int rc = luaflow_open(&open, &rt, &err);
    if (rc == LUAFLOW_OK)
        rc = luaflow_flow_load(titles, NULL, &flow, &err);
    if (rc == LUAFLOW_OK)
        rc = luaflow_start(rt, flow, NULL, &run, &err);
    if (rc == LUAFLOW_OK && luaflow_wait(run, -1))
        rc = luaflow_run_artifact(run, "results", &bytes, &size, &err);
    if (rc != LUAFLOW_OK)
        complain(luaflow_error_text(&err));
    CHECK_INT(size, 2);
    CHECK_MEM(bytes, "\xa1x", 2);
    luaflow_free(bytes);
    luaflow_run_close(run);
    luaflow_flow_close(flow);
    luaflow_close(rt);
    luaflow_error_clear(&err);
    snprintf(line, sizeof line, "rm -rf '%s'", base);
    CHECK_INT(system(line), 0);
}

TEST(success_is_zero_and_every_error_is_negative)
{
    CHECK_INT(LUAFLOW_OK, 0);
    int codes[] = {LUAFLOW_ENOMEM, LUAFLOW_EUSAGE, LUAFLOW_EFLOW, LUAFLOW_ESTORE,
                   LUAFLOW_ENOTFOUND, LUAFLOW_ESTEP, LUAFLOW_EVALUE};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        CHECK(codes[i] < 0);
        for (size_t j = 0; j < i; j++)
            CHECK(codes[i] != codes[j]);
    }
}

TEST(everything_the_header_names_is_there)
{
    void (*const all[])(void) = {
        (void (*)(void))luaflow_error_text,
        (void (*)(void))luaflow_error_clear,
        (void (*)(void))luaflow_error_set,
        (void (*)(void))luaflow_flow_load,
        (void (*)(void))luaflow_flow_load_string,
        (void (*)(void))luaflow_flow_load_lua,
        (void (*)(void))luaflow_flow_describe,
        (void (*)(void))luaflow_flow_params,
        (void (*)(void))luaflow_flow_close,
        (void (*)(void))luaflow_open,
        (void (*)(void))luaflow_close,
        (void (*)(void))luaflow_fd,
        (void (*)(void))luaflow_poll,
        (void (*)(void))luaflow_events_lost,
        (void (*)(void))luaflow_start,
        (void (*)(void))luaflow_resume,
        (void (*)(void))luaflow_wait,
        (void (*)(void))luaflow_cancel,
        (void (*)(void))luaflow_run_id,
        (void (*)(void))luaflow_run_status,
        (void (*)(void))luaflow_run_problem,
        (void (*)(void))luaflow_run_close,
        (void (*)(void))luaflow_free,
        (void (*)(void))luaflow_run_read,
        (void (*)(void))luaflow_runs_list,
        (void (*)(void))luaflow_run_part_read,
        (void (*)(void))luaflow_run_tag,
        (void (*)(void))luaflow_tasks_list,
        (void (*)(void))luaflow_task_read,
        (void (*)(void))luaflow_artifact_read,
        (void (*)(void))luaflow_artifact_push,
        (void (*)(void))luaflow_last_task,
        (void (*)(void))luaflow_run_artifact,
        (void (*)(void))luaflow_run_artifact_push,
        (void (*)(void))luaflow_log_read,
        (void (*)(void))luaflow_logs_list,
        (void (*)(void))luaflow_verify,
        (void (*)(void))luaflow_prune,
        (void (*)(void))luaflow_compact,
        (void (*)(void))luaflow_inside_store,
        (void (*)(void))luaflow_try,
        (void (*)(void))luaflow_serve,
        (void (*)(void))luaflow_value_push,
        (void (*)(void))luaflow_value_push_marked,
        (void (*)(void))luaflow_value_encode,
        (void (*)(void))luaflow_version,
        (void (*)(void))luaflow_versions,
        (void (*)(void))luaflow_furnish,
        (void (*)(void))luaopen_luaflow_core,
        (void (*)(void))luaopen_luaflow,
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        CHECK(all[i] != NULL);
}
