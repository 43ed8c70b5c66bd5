/* What a resumed run takes over: origins are stored by hand, task by task, and then asked for
 * by step and place as a worker asks. */
#include "replay.h"

#include "flow.h"
#include "inputs.h"
#include "tasks.h"

/* A literal as bytes. */
#define BYTES(literal) {(const uint8_t *)literal, sizeof(literal) - 1}

/* ---- a world in one line ---- */

enum { NEW_RUN = 90, BIG = LF_INLINE_MAX + 44 };

static lf_store *store;
static lf_flow *flow;   /* as it is now */
static lf_facts *facts; /* of the run that resumes, once there is one */

static lf_flow *load(const char *source)
{
    lf_flow *f = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_flow_load_string(source, strlen(source), "f.lua", NULL, &f, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return f;
}

static void edit(const char *source)
{
    lf_flow_free(flow);
    flow = load(source);
}

static void begin(const char *source)
{
    store = new_store();
    edit(source);
}

static void end(void)
{
    if (facts != NULL)
        CHECK_INT(facts->refs, 1); /* every batch has gone */
    lf_facts_free(facts);
    facts = NULL;
    lf_flow_free(flow);
    flow = NULL;
    drop_store(store);
}

/* ---- an origin ---- */

static lf_write *txn; /* while an origin is put down */

static lf_ref put_blob(lf_slice bytes)
{
    lf_ref ref = {.kind = LF_REF_KEY, .key = lf_key_of(0, bytes.data, bytes.size), .size = bytes.size};
    CHECK_INT(lf_write_blob(txn, &ref.key, bytes, &ref.salt, NULL), LUAFLOW_OK);
    return ref;
}

/* A run of the flow as it is now, whose description may be another's. What follows puts down
 * its tasks, until it is closed. */
static uint32_t open_run_described(lf_slice description)
{
    uint32_t run;
    lf_slice no_params = text("\x80");
    CHECK_INT(lf_write_begin(store, &txn, NULL), LUAFLOW_OK);
    lf_run_record record = {.flow = text("F"), .source = {.kind = LF_REF_INLINE},
                            .description = put_blob(description),
                            .params = {.kind = LF_REF_INLINE, .bytes = no_params, .size = 1}};
    lf_run_state state = {.status = LUAFLOW_FAILED};
    CHECK_INT(lf_write_run(txn, &record, &state, &run, NULL), LUAFLOW_OK);
    return run;
}

static uint32_t open_run(void) { return open_run_described(lf_flow_description(flow)); }

static void close_run(void) { CHECK_INT(lf_write_commit(txn, NULL), LUAFLOW_OK); }

/* "[2]#3" as a place. */
static void put_place(lf_bytes *out, const char *words)
{
    for (char *at = (char *)words; *at != 0; at += *at == ']') {
        bool is_index = *at == '[';
        uint64_t n = strtoull(at + 1, &at, 10);
        (is_index ? lf_place_put_index : lf_place_put_turn)(out, n);
    }
}

/* "x1 yA z-": a small value of that digit, a large one of that letter, a removal. The names are
 * in ascending order. */
static uint32_t put_words(lf_bytes *outputs, const char *words)
{
    char copy[200], *left;
    uint32_t n = 0;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok_r(copy, " ", &left); word != NULL; word = strtok_r(NULL, " ", &left), n++) {
        size_t size = strlen(word) - 1;
        uint8_t what = (uint8_t)word[size], big[BIG];
        lf_ref ref = {.kind = LF_REF_REMOVED};
        memset(big, what, sizeof big);
        if (what >= '0' && what <= '9')
            ref = (lf_ref){.kind = LF_REF_INLINE, .bytes = {big, 1}, .size = 1};
        else if (what != '-')
            ref = put_blob(lf_slice_of(big, sizeof big));
        lf_output_put(outputs, lf_slice_of(word, size), &ref);
    }
    return n;
}

/* What is put down of a task; zero is "nothing to say". */
typedef struct deed {
    const char *at;            /* its place */
    uint32_t after[8];         /* its parents */
    uint8_t flags;
    uint32_t width;
    const char *chose;
    const char *left;          /* as for put_words */
    lf_slice list;             /* canonical bytes of the artifact `list` */
    uint32_t base, base_run, origin_run, origin_task, attempt;
    uint64_t started_us;
    lf_slice parents;          /* raw, instead of `after` */
} deed;

#define NO_LIST "\x90"
#define LIST_OF_3 "\x93\x0a\x14\x1e"
#define LIST(bytes) .list = BYTES(bytes)

static void put_step(uint32_t run, uint32_t number, uint32_t step, const deed *d)
{
    lf_bytes at = {0}, parents = {0}, outputs = {0}, record = {0};
    size_t n = 0;
    while (n < 8 && d->after[n] != 0)
        n++;
    put_place(&at, d->at == NULL ? "" : d->at);
    lf_parents_put(&parents, d->after, n);
    lf_task_record r = {.flags = d->flags, .step = step, .attempt = d->attempt, .worker = 7,
                        .started_us = d->started_us, .duration_us = 5, .place = {at.data, at.size},
                        .base = d->base, .base_run = d->base_run, .origin_run = d->origin_run,
                        .origin_task = d->origin_task, .width = d->width, .message = text("it broke")};
    r.parents = d->parents.size > 0 ? d->parents : lf_slice_of(parents.data, parents.size);
    if (d->list.data != NULL) {
        lf_ref ref = {.kind = LF_REF_INLINE, .bytes = d->list, .size = d->list.size};
        lf_output_put(&outputs, text("list"), &ref);
        r.n_outputs = 1;
    }
    if (d->left != NULL)
        r.n_outputs += put_words(&outputs, d->left);
    if (d->chose != NULL)
        r.choice = lf_graph_find(lf_flow_graph(flow), d->chose);
    r.outputs = lf_slice_of(outputs.data, outputs.size);
    lf_task_record_put(&record, &r);
    CHECK_INT(lf_write_task(txn, run, number, lf_slice_of(record.data, record.size), NULL), LUAFLOW_OK);
    lf_bytes_fini(&at);
    lf_bytes_fini(&parents);
    lf_bytes_fini(&outputs);
    lf_bytes_fini(&record);
}

static void put_deed(uint32_t run, uint32_t number, const char *step, const deed *d)
{
    put_step(run, number, lf_graph_find(lf_flow_graph(flow), step), d);
}

/* DID(run, 3, "each", .at = "[2]", .after = {1}): task 3 of the open run. */
#define DID(run, number, ...) DID_(run, number, __VA_ARGS__, .flags = 0)
#define DID_(run, number, step, ...) put_deed(run, number, step, &(deed){__VA_ARGS__})
#define FAILS(run, number, ...) FAILS_(run, number, __VA_ARGS__, .flags = LF_TASK_FAILED)
#define FAILS_(run, number, step, ...) put_deed(run, number, step, &(deed){__VA_ARGS__})

/* ---- the run that resumes ---- */

static void drop_flow(struct lf_flow *f) { lf_flow_free(f); }

static int make_replay(uint32_t origin, const char *step, luaflow_error *err)
{
    lf_facts_free(facts);
    facts = lf_facts_new(lf_graph_size(lf_flow_graph(flow)));
    facts->run = NEW_RUN;
    facts->flow = lf_flow_ref(flow);
    facts->drop_flow = drop_flow;
    facts->drop_replay = lf_replay_free;
    facts->params = lf_buf_copy("\x80", 1);
    facts->origin = origin;
    return lf_replay_new(store, lf_flow_graph(flow), origin, step, &facts->replay, err);
}

static void resume_from(uint32_t origin, const char *step)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (make_replay(origin, step, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
}

static void resume(uint32_t origin) { resume_from(origin, NULL); }

static void check_says(luaflow_error *err, const char *words)
{
    if (strstr(luaflow_error_text(err), words) == NULL)
        fail_msg("'%s' does not say '%s'", luaflow_error_text(err), words);
    luaflow_error_clear(err);
}

/* That the flow as it is now cannot resume the run, in words that name the step and the cure. */
static void check_misfit(uint32_t origin, const char *step, const char *words)
{
    char line[100];
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(make_replay(origin, NULL, &err), LUAFLOW_EUSAGE);
    CHECK(facts->replay == NULL);
    snprintf(line, sizeof line, "step %s was done and would be reused, but ", step);
    CHECK(strncmp(luaflow_error_text(&err), line, strlen(line)) == 0);
    snprintf(line, sizeof line, "resume from that step (luaflow resume FLOW %s), or run the flow anew", step);
    CHECK(strstr(luaflow_error_text(&err), line) != NULL);
    check_says(&err, words);
}

/* A task of the run that resumes, as "each[2]" or "turn#3"; it has yet to run. The caller
 * drops it. */
static lf_task *task_at(const char *path)
{
    static lf_bytes at; /* borrowed by the task until the next one */
    char name[100];
    size_t size = strcspn(path, "[#");
    snprintf(name, sizeof name, "%.*s", (int)size, path);
    lf_bytes_clear(&at);
    put_place(&at, path + size);
    lf_batch *b = lf_batch_new(facts, 1);
    lf_task *t = &b->tasks[0];
    t->number = 1;
    t->turn = 1;
    t->step = lf_graph_find(lf_flow_graph(flow), name);
    t->prefix = lf_slice_of(at.data, at.size);
    CHECK(t->step != LF_NONE);
    return t;
}

static int replay_task(lf_store *s, lf_task *t, bool *is_reused, luaflow_error *err)
{
    lf_view *v = view_of(s);
    size_t next = t->number % 3; /* a guess may be wrong */
    int rc = lf_replay_task(v, t, &next, is_reused, err);
    lf_view_end(v);
    return rc;
}

/* Whether it is taken over; it is sealed then. */
static bool take_over(lf_task *t)
{
    bool reused = false;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (replay_task(store, t, &reused, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    CHECK_INT(t->outcome, reused ? LF_SUCCEEDED : LF_UNSTARTED);
    CHECK_INT(t->origin_run != 0, reused);
    return reused;
}

/* Why the task at `path` is reused or runs. */
static const char *why(const char *path)
{
    static char reason[100];
    lf_bytes said = {0};
    lf_task *t = task_at(path);
    take_over(t);
    lf_replay_reason(t, &said);
    snprintf(reason, sizeof reason, "%s", lf_bytes_cstr(&said));
    lf_bytes_fini(&said);
    lf_task_drop(t);
    return reason;
}

/* Those of `paths` that are taken over. */
static const char *taken(const char *paths)
{
    static char kept[300];
    char copy[300], *left;
    kept[0] = 0;
    snprintf(copy, sizeof copy, "%s", paths);
    for (char *path = strtok_r(copy, " ", &left); path != NULL; path = strtok_r(NULL, " ", &left)) {
        lf_task *t = task_at(path);
        if (take_over(t)) {
            strcat(kept, kept[0] == 0 ? "" : " ");
            strcat(kept, path);
        }
        lf_task_drop(t);
    }
    return kept;
}

/* A task that was taken over. */
static lf_task *reused(const char *path)
{
    lf_task *t = task_at(path);
    CHECK(take_over(t));
    return t;
}

static lf_task_record record_of(const lf_task *t)
{
    lf_task_record r;
    CHECK(lf_task_record_get(lf_task_record_bytes(t), &r));
    return r;
}

/* That taking the task over fails in these words, and leaves it as it was. */
static void check_unusable(const char *path, const char *words)
{
    bool said = true;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_task *t = task_at(path);
    CHECK_INT(replay_task(store, t, &said, &err), LUAFLOW_ESTORE);
    CHECK(!said);
    CHECK_INT(t->outcome, LF_UNSTARTED);
    check_says(&err, words);
    CHECK_INT(replay_task(store, t, &said, NULL), LUAFLOW_ESTORE);
    lf_task_drop(t);
}

static void check_damaged(uint32_t origin, const char *words)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(make_replay(origin, NULL, &err), LUAFLOW_ESTORE);
    CHECK(strstr(luaflow_error_text(&err), "luaflow verify") != NULL);
    check_says(&err, words);
    CHECK_INT(make_replay(origin, NULL, NULL), LUAFLOW_ESTORE);
}

/* ---- flows ---- */

#define FLOW(steps) "return { name = 'F', params = { n = { default = 3 } }, steps = { " steps " } }"

#define LINEAR FLOW("start = { next = 'a' }, a = { next = 'b' }, b = { next = 'finish' }, finish = {}")
#define EACH FLOW("start = { next = 'each', foreach = 'list' }, each = { next = 'join' }, " \
                  "join = { next = 'finish', function(self, inputs) end }, finish = {}")
#define NESTED FLOW("start = { next = 'row', foreach = 'list' }, row = { next = 'cell', foreach = 'list' }, " \
                    "cell = { next = 'sum' }, sum = { next = 'all', function(self, inputs) end }, "           \
                    "all = { function(self, inputs) end }")
#define LOOP FLOW("start = { next = 'turn' }, turn = { next = 'test' }, " \
                  "test = { next = { again = 'turn', over = 'finish' }, switch = 'go' }, finish = {}")
#define BRANCH FLOW("start = { next = { 'left', 'right' } }, left = { next = 'join' }, right = { next = 'join' }, " \
                    "join = { function(self, inputs) end }")
#define SWITCH FLOW("start = { next = { s = 'small', l = 'large' }, switch = 'size' }, " \
                    "small = { next = 'finish' }, large = { next = 'finish' }, finish = {}")

/* start and a succeeded, b failed. */
static uint32_t half_linear(void)
{
    uint32_t run = open_run();
    DID(run, 1, "start");
    DID(run, 2, "a", .after = {1});
    FAILS(run, 3, "b", .after = {2});
    close_run();
    return run;
}

static uint32_t whole_linear(void)
{
    uint32_t run = open_run();
    DID(run, 1, "start");
    DID(run, 2, "a", .after = {1});
    DID(run, 3, "b", .after = {2});
    DID(run, 4, "finish", .after = {3});
    close_run();
    return run;
}

/* ---- what is taken over ---- */

TEST(what_succeeded_is_taken_over_and_what_failed_runs)
{
    begin(LINEAR);
    resume(half_linear());
    CHECK_STR(taken("start a b finish"), "start a");
    CHECK_STR(why("start"), "it succeeded in run 1, as task 1");
    CHECK_STR(why("a"), "it succeeded in run 1, as task 2");
    CHECK_STR(why("b"), "it failed in run 1");
    CHECK_STR(why("finish"), "it did not finish in run 1");
    end();
}

TEST(a_run_that_succeeded_is_taken_over_whole)
{
    begin(LINEAR);
    resume(whole_linear());
    CHECK_STR(taken("start a b finish"), "start a b finish");
    end();
}

TEST(of_a_run_without_tasks_nothing_is)
{
    begin(LINEAR);
    uint32_t run = open_run();
    close_run();
    resume(run);
    CHECK_STR(taken("start a"), "");
    CHECK_STR(why("start"), "it did not finish in run 1");
    end();
}

TEST(a_task_after_one_that_runs_again_does_so_too)
{
    begin(LINEAR);
    uint32_t run = open_run();
    DID(run, 1, "start");
    FAILS(run, 2, "a", .after = {1});
    DID(run, 3, "b", .after = {2}); /* as nobody would have stored it */
    DID(run, 4, "finish", .after = {3});
    close_run();
    resume(run);
    CHECK_STR(taken("start a b finish"), "start");
    CHECK_STR(why("b"), "a task before it runs again");
    CHECK_STR(why("finish"), "a task before it runs again");
    end();
}

TEST(a_step_that_is_named_and_all_after_it_run_again)
{
    begin(LINEAR);
    uint32_t run = whole_linear();
    resume_from(run, "a");
    CHECK_STR(taken("start a b finish"), "start");
    CHECK_STR(why("a"), "its step is to run again");
    CHECK_STR(why("b"), "a task before it runs again");
    CHECK_STR(why("finish"), "a task before it runs again");
    resume_from(run, "start");
    CHECK_STR(taken("start a b finish"), "");
    resume_from(run, "finish");
    CHECK_STR(taken("start a b finish"), "start a b");
    end();
}

TEST(a_step_that_is_not_there_cannot_be_named)
{
    begin(LINEAR);
    uint32_t run = whole_linear();
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(make_replay(run, "c", &err), LUAFLOW_EUSAGE);
    check_says(&err, "the flow has no step 'c' to resume from");
    end();
}

TEST(a_run_that_is_not_there_is_not_found)
{
    begin(LINEAR);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(make_replay(7, NULL, &err), LUAFLOW_ENOTFOUND);
    check_says(&err, "there is no run 7");
    end();
}

TEST(of_a_foreach_the_elements_that_failed_or_never_ran_run)
{
    begin(EACH);
    uint32_t run = open_run();
    DID(run, 1, "start", .width = 3, LIST(LIST_OF_3));
    DID(run, 2, "each", .at = "[1]", .after = {1});
    FAILS(run, 3, "each", .at = "[2]", .after = {1});
    close_run();
    resume(run);
    CHECK_STR(taken("start each[1] each[2] each[3] join finish"), "start each[1]");
    CHECK_STR(why("each[2]"), "it failed in run 1");
    CHECK_STR(why("each[3]"), "it did not finish in run 1");
    end();
}

TEST(a_join_is_taken_over_when_all_its_inputs_are)
{
    begin(EACH);
    uint32_t run = open_run();
    DID(run, 1, "start", .width = 3, LIST(LIST_OF_3));
    for (uint32_t i = 1; i <= 3; i++) {
        char at[] = {'[', (char)('0' + i), ']', 0};
        DID(run, 1 + i, "each", .at = at, .after = {1});
    }
    DID(run, 5, "join", .after = {2, 3, 4});
    FAILS(run, 6, "finish", .after = {5});
    close_run();
    resume(run);
    CHECK_STR(taken("start each[1] each[2] each[3] join finish"), "start each[1] each[2] each[3] join");
    resume_from(run, "each");
    CHECK_STR(taken("start each[1] each[2] each[3] join finish"), "start");
    CHECK_STR(why("join"), "a task before it runs again");
    resume_from(run, "join");
    CHECK_STR(taken("start each[1] each[2] each[3] join finish"), "start each[1] each[2] each[3]");
    end();
}

TEST(nested_elements_are_told_apart)
{
    begin(NESTED);
    uint32_t run = open_run();
    DID(run, 1, "start", .width = 3, LIST(LIST_OF_3));
    DID(run, 2, "row", .at = "[1]", .after = {1}, .width = 3, LIST(LIST_OF_3));
    DID(run, 3, "row", .at = "[2]", .after = {1}, .width = 3, LIST(LIST_OF_3));
    FAILS(run, 4, "row", .at = "[3]", .after = {1});
    DID(run, 5, "cell", .at = "[1][1]", .after = {2});
    DID(run, 6, "cell", .at = "[1][2]", .after = {2});
    DID(run, 7, "cell", .at = "[1][3]", .after = {2});
    FAILS(run, 8, "cell", .at = "[2][1]", .after = {3});
    DID(run, 9, "cell", .at = "[2][2]", .after = {3});
    DID(run, 10, "sum", .at = "[1]", .after = {5, 6, 7});
    close_run();
    resume(run);
    CHECK_STR(taken("start row[1] row[2] row[3] cell[1][1] cell[1][3] cell[2][1] cell[2][2] cell[2][3] "
                    "cell[3][1] sum[1] sum[2] all"),
              "start row[1] row[2] cell[1][1] cell[1][3] cell[2][2] sum[1]");
    resume_from(run, "cell");
    CHECK_STR(taken("start row[1] row[2] cell[1][1] cell[2][2] sum[1]"), "start row[1] row[2]");
    end();
}

static uint32_t two_turns_and_a_half(void)
{
    uint32_t run = open_run();
    DID(run, 1, "start");
    DID(run, 2, "turn", .after = {1});
    DID(run, 3, "test", .after = {2}, .chose = "turn");
    DID(run, 4, "turn", .at = "#2", .after = {3});
    DID(run, 5, "test", .at = "#2", .after = {4}, .chose = "turn");
    FAILS(run, 6, "turn", .at = "#3", .after = {5});
    close_run();
    return run;
}

TEST(a_loop_goes_on_in_the_turn_that_failed)
{
    begin(LOOP);
    resume(two_turns_and_a_half());
    CHECK_STR(taken("start turn test turn#2 test#2 turn#3 test#3 finish"), "start turn test turn#2 test#2");
    CHECK_STR(why("turn#3"), "it failed in run 1");
    CHECK_STR(why("turn#4"), "it did not finish in run 1");
    end();
}

TEST(a_named_step_of_a_loop_runs_again_from_its_first_turn_on)
{
    begin(LOOP);
    uint32_t run = two_turns_and_a_half();
    resume_from(run, "test");
    CHECK_STR(taken("start turn test turn#2 test#2"), "start turn");
    CHECK_STR(why("test"), "its step is to run again");
    CHECK_STR(why("turn#2"), "a task before it runs again");
    CHECK_STR(why("test#2"), "a task before it runs again");
    resume_from(run, "turn");
    CHECK_STR(taken("start turn test turn#2 test#2"), "start");
    end();
}

TEST(a_reused_switch_keeps_its_choice_under_the_number_that_the_step_has_now)
{
    begin(SWITCH);
    uint32_t run = open_run();
    DID(run, 1, "start", .chose = "small");
    FAILS(run, 2, "small", .after = {1});
    close_run();
    /* 'small' moves behind a step that comes first now */
    edit(FLOW("start = { next = { s = 'small', l = 'large', x = 'extra' }, switch = 'size' }, "
              "extra = { next = 'finish' }, small = { next = 'finish' }, large = { next = 'finish' }, finish = {}"));
    resume(run);
    lf_task *t = reused("start");
    CHECK_INT(t->choice, lf_graph_find(lf_flow_graph(flow), "small"));
    CHECK_INT(record_of(t).choice, t->choice);
    lf_task_drop(t);
    end();
}

TEST(the_arms_of_a_branch_are_taken_over_each_for_itself)
{
    begin(BRANCH);
    uint32_t run = open_run();
    DID(run, 1, "start");
    FAILS(run, 2, "left", .after = {1});
    DID(run, 3, "right", .after = {1});
    close_run();
    resume(run);
    CHECK_STR(taken("start left right join"), "start right");
    resume_from(run, "right");
    CHECK_STR(taken("start left right join"), "start");
    CHECK_STR(why("left"), "it failed in run 1");
    CHECK_STR(why("right"), "its step is to run again");
    end();
}

/* ---- a join over nothing has no inputs, but a task before it all the same ---- */

TEST(a_join_over_an_empty_list_is_taken_over_with_its_foreach)
{
    begin(EACH);
    uint32_t run = open_run();
    DID(run, 1, "start", LIST(NO_LIST));
    DID(run, 2, "join");
    DID(run, 3, "finish", .after = {2});
    close_run();
    resume(run);
    CHECK_STR(taken("start join finish"), "start join finish");
    end();
}

TEST(a_join_over_an_empty_list_runs_again_with_its_foreach)
{
    begin(EACH);
    uint32_t run = open_run();
    DID(run, 1, "start", LIST(NO_LIST));
    DID(run, 2, "join");
    DID(run, 3, "finish", .after = {2});
    close_run();
    resume_from(run, "start");
    CHECK_STR(taken("start join finish"), "");
    CHECK_STR(why("join"), "a task before it runs again");
    CHECK_STR(why("finish"), "a task before it runs again");
    end();
}

TEST(of_several_empty_lists_only_the_joins_of_those_that_run_again_do_so)
{
    begin(NESTED);
    uint32_t run = open_run();
    DID(run, 1, "start", .width = 2, LIST("\x92\x01\x02"));
    DID(run, 2, "row", .at = "[1]", .after = {1}, LIST(NO_LIST));
    DID(run, 3, "sum", .at = "[1]");
    DID(run, 4, "row", .at = "[2]", .after = {9}, LIST(NO_LIST)); /* after one that is not there */
    DID(run, 5, "sum", .at = "[2]");
    DID(run, 6, "all", .after = {3, 5});
    close_run();
    resume(run);
    CHECK_STR(taken("start row[1] sum[1] row[2] sum[2] all"), "start row[1] sum[1]");
    resume_from(run, "row");
    CHECK_STR(taken("start row[1] sum[1] row[2] sum[2] all"), "start");
    end();
}

TEST(an_empty_list_in_one_arm_is_no_business_of_the_other)
{
    begin(FLOW("start = { next = { 'left', 'right' } }, "
               "left = { next = 'l', foreach = 'list' }, l = { next = 'ljoin' }, "
               "ljoin = { next = 'join', function(self, inputs) end }, "
               "right = { next = 'r', foreach = 'list' }, r = { next = 'rjoin' }, "
               "rjoin = { next = 'join', function(self, inputs) end }, "
               "join = { function(self, inputs) end }"));
    uint32_t run = open_run();
    DID(run, 1, "start");
    DID(run, 2, "left", .after = {1}, LIST(NO_LIST));
    DID(run, 3, "right", .after = {1}, LIST(NO_LIST));
    DID(run, 4, "ljoin");
    DID(run, 5, "rjoin");
    close_run();
    resume_from(run, "left");
    CHECK_STR(taken("start left ljoin right rjoin join"), "start right rjoin");
    end();
}

TEST(an_empty_list_in_a_later_turn_is_told_from_one_in_an_earlier)
{
    begin(FLOW("start = { next = 'split' }, split = { next = 'each', foreach = 'list' }, "
               "each = { next = 'join' }, join = { next = 'test', function(self, inputs) end }, "
               "test = { next = { again = 'split', over = 'finish' }, switch = 'go' }, finish = {}"));
    uint32_t run = open_run();
    DID(run, 1, "start");
    DID(run, 2, "split", .after = {1}, LIST(NO_LIST));
    DID(run, 3, "join");
    DID(run, 4, "test", .after = {3}, .chose = "split");
    DID(run, 5, "split", .at = "#2", .after = {9}, LIST(NO_LIST)); /* after one that is not there */
    DID(run, 6, "join", .at = "#2");
    close_run();
    resume(run);
    CHECK_STR(taken("start split join test split#2 join#2"), "start split join test");
    resume_from(run, "split");
    CHECK_STR(taken("start split join test split#2 join#2"), "start");
    resume_from(run, "test");
    CHECK_STR(taken("start split join test split#2 join#2"), "start split join");
    end();
}

TEST(a_join_over_an_empty_list_runs_again_when_its_foreach_has_become_something_else)
{
    begin(EACH);
    uint32_t run = open_run();
    DID(run, 1, "start", LIST(NO_LIST));
    DID(run, 2, "join");
    close_run();
    edit(FLOW("start = { next = 'join' }, join = { next = 'finish' }, finish = {}"));
    resume_from(run, "start");
    CHECK_STR(taken("start join finish"), "");
    end();
}

/* ---- whether the graph still fits ---- */

TEST(steps_may_move_and_others_come_between_those_that_never_ran)
{
    begin(LINEAR);
    uint32_t run = half_linear();
    edit(FLOW("start = { next = 'a' }, a = { next = 'b' }, b = { next = 'aa' }, aa = { next = 'ab' }, "
              "ab = { next = 'the_end' }, the_end = {}"));
    resume(run);
    CHECK_STR(taken("start a b aa ab the_end"), "start a");
    CHECK_STR(why("aa"), "it did not finish in run 1");
    end();
}

TEST(records_are_matched_by_name_where_numbers_have_changed)
{
    begin(SWITCH);
    uint32_t run = open_run();
    DID(run, 1, "start", .chose = "small");
    DID(run, 2, "small", .after = {1});
    FAILS(run, 3, "finish", .after = {2});
    close_run();
    uint32_t before = lf_graph_find(lf_flow_graph(flow), "small");
    edit(FLOW("start = { next = { s = 'small', a = 'a', b = 'b', l = 'large' }, switch = 'size' }, "
              "a = { next = 'finish' }, b = { next = 'finish' }, small = { next = 'finish' }, "
              "large = { next = 'finish' }, finish = {}"));
    CHECK(lf_graph_find(lf_flow_graph(flow), "small") != before);
    resume(run);
    CHECK_STR(taken("start small large a b finish"), "start small");
    lf_task *t = reused("small");
    CHECK_INT(record_of(t).step, lf_graph_find(lf_flow_graph(flow), "small"));
    lf_task_drop(t);
    end();
}

TEST(arms_of_a_branch_in_another_order_are_the_same_successors)
{
    begin(BRANCH);
    uint32_t run = open_run();
    DID(run, 1, "start");
    DID(run, 2, "left", .after = {1});
    close_run();
    edit(FLOW("start = { next = { 'right', 'left' } }, left = { next = 'join' }, right = { next = 'join' }, "
              "join = { function(self, inputs) end }"));
    resume(run);
    CHECK_STR(taken("start left right join"), "start left");
    end();
}

TEST(a_reused_step_with_other_successors_is_refused)
{
    begin(LINEAR);
    uint32_t run = half_linear();
    edit(FLOW("start = { next = 'a' }, a = { next = 'c' }, c = { next = 'finish' }, finish = {}"));
    check_misfit(run, "a", "it now has other successors");
    edit(FLOW("start = { next = 'a' }, a = {}"));
    check_misfit(run, "a", "it now has other successors");
    edit(FLOW("start = { next = 'a' }, a = { next = { x = 'b', y = 'finish' }, switch = 'z' }, "
              "b = { next = 'finish' }, finish = {}"));
    check_misfit(run, "a", "it now has other successors");
    edit(FLOW("start = { next = 'a' }, a = { next = 'b', foreach = 'list' }, b = { next = 'j' }, "
              "j = { function(self, inputs) end }"));
    check_misfit(run, "a", "it now has other successors");
    resume_from(run, "a"); /* the cure */
    CHECK_STR(taken("start a"), "start");
    end();
}

TEST(a_branch_with_an_arm_more_or_less_is_refused)
{
    begin(BRANCH);
    uint32_t run = open_run();
    DID(run, 1, "start");
    close_run();
    edit(FLOW("start = { next = { 'left', 'right', 'up' } }, left = { next = 'join' }, right = { next = 'join' }, "
              "up = { next = 'join' }, join = { function(self, inputs) end }"));
    check_misfit(run, "start", "it now has other successors");
    edit(FLOW("start = { next = { 'left', 'up' } }, left = { next = 'join' }, up = { next = 'join' }, "
              "join = { function(self, inputs) end }"));
    check_misfit(run, "start", "it now has other successors");
    end();
}

TEST(a_foreach_over_something_else_is_refused)
{
    begin(EACH);
    uint32_t run = open_run();
    DID(run, 1, "start", .width = 3, LIST(LIST_OF_3));
    close_run();
    edit(FLOW("start = { next = 'each', foreach = 'lists' }, each = { next = 'join' }, "
              "join = { next = 'finish', function(self, inputs) end }, finish = {}"));
    check_misfit(run, "start", "its foreach goes over something else");
    end();
}

TEST(a_step_that_was_or_has_become_a_join_is_refused)
{
    begin(FLOW("start = { next = 'each', foreach = 'list' }, each = { next = 'a' }, "
               "a = { next = 'join' }, join = { function(self, inputs) end }"));
    uint32_t run = open_run();
    DID(run, 1, "start", .width = 1, LIST("\x91\x01"));
    DID(run, 2, "each", .at = "[1]", .after = {1});
    DID(run, 3, "a", .at = "[1]", .after = {2});
    close_run();
    edit(FLOW("start = { next = 'each', foreach = 'list' }, each = { next = 'a' }, "
              "a = { next = 'join', function(self, inputs) end }, join = {}"));
    check_misfit(run, "a", "it has become a join");
    uint32_t other = open_run();
    DID(other, 1, "start", .width = 1, LIST("\x91\x01"));
    DID(other, 2, "each", .at = "[1]", .after = {1});
    DID(other, 3, "a", .after = {2});
    close_run();
    edit(FLOW("start = { next = 'each', foreach = 'list' }, each = { next = 'a' }, "
              "a = { next = 'join' }, join = { function(self, inputs) end }"));
    check_misfit(other, "a", "it is no join any more");
    end();
}

TEST(a_choice_that_is_no_case_any_more_is_refused)
{
    begin(SWITCH);
    uint32_t run = open_run();
    DID(run, 1, "start", .chose = "small");
    close_run();
    edit(FLOW("start = { next = { l = 'large', f = 'finish' }, switch = 'size' }, "
              "large = { next = 'finish' }, finish = {}"));
    check_misfit(run, "start", "the step that its switch chose is none of its cases now");
    uint32_t large = open_run();
    DID(large, 1, "start", .chose = "large");
    close_run();
    resume(large); /* cases that were not chosen may go and come, and the switch may ask another value */
    edit(FLOW("start = { next = { [1] = 'large', [2] = 'tiny' }, switch = 'width' }, "
              "tiny = { next = 'finish' }, large = { next = 'finish' }, finish = {}"));
    resume(large);
    CHECK_STR(taken("start"), "start");
    end();
}

TEST(a_step_that_is_gone_matters_only_where_tasks_before_it_are_reused)
{
    begin(LINEAR);
    uint32_t run = whole_linear();
    edit(FLOW("start = { next = 'b' }, b = { next = 'finish' }, finish = {}"));
    check_misfit(run, "start", "it now has other successors");
    resume_from(run, "start");
    CHECK_STR(taken("start b finish"), "");
    CHECK_STR(why("b"), "a task before it runs again");
    end();
}

/* ---- what is said of a reused task ---- */

TEST(a_reused_task_keeps_its_times_and_attempt_and_gets_its_parents_of_here)
{
    begin(LINEAR);
    uint32_t run = open_run();
    DID(run, 1, "start", .left = "x1");
    DID(run, 2, "a", .after = {1}, .attempt = 3, .started_us = 1795000000000000, .left = "x2 yA", .base = 1);
    close_run();
    resume(run);
    lf_task *parent = reused("start"), *t = task_at("a");
    parent->number = 41;
    t->parent = parent;
    CHECK(take_over(t));
    CHECK(t->parent == NULL);
    lf_task_record r = record_of(t);
    CHECK_INT(r.flags, LF_TASK_REUSED);
    CHECK_INT(r.origin_run, run);
    CHECK_INT(r.origin_task, 2);
    CHECK_INT(t->origin_run, run);
    CHECK_INT(t->origin_task, 2);
    CHECK_INT(r.attempt, 3);
    CHECK_INT(t->attempt, 3);
    CHECK_INT(r.worker, 7);
    CHECK_INT(r.started_us, 1795000000000000);
    CHECK_INT(r.duration_us, 5);
    CHECK_INT(r.base, 0);
    CHECK_INT(r.n_outputs, 0);
    uint32_t number;
    CHECK_INT(lf_parents_count(r.parents), 1);
    CHECK(lf_parents_get(r.parents, &number));
    CHECK_INT(number, 41);
    lf_task_drop(t);
    end();
}

TEST(a_reused_join_names_its_inputs_of_here)
{
    begin(EACH);
    uint32_t run = open_run();
    DID(run, 1, "start", .width = 2, LIST("\x92\x01\x02"));
    DID(run, 2, "each", .at = "[2]", .after = {1});
    DID(run, 3, "each", .at = "[1]", .after = {1});
    DID(run, 4, "join", .after = {3, 2});
    close_run();
    resume(run);
    lf_task *t = task_at("join");
    t->join = calloc(1, sizeof *t->join);
    t->join->n = 2;
    t->join->numbers = malloc(2 * sizeof(uint32_t));
    memcpy(t->join->numbers, (uint32_t[]){12, 11}, 2 * sizeof(uint32_t));
    CHECK(take_over(t));
    uint32_t numbers[2];
    CHECK_INT(lf_parents_count(record_of(t).parents), 2);
    CHECK(lf_parents_get(record_of(t).parents, numbers));
    CHECK_INT(numbers[0], 12);
    CHECK_INT(numbers[1], 11);
    lf_task_drop(t);
    end();
}

TEST(a_caught_failure_stays_caught)
{
    begin(LINEAR);
    uint32_t run = open_run();
    put_deed(run, 1, "start", &(deed){.flags = LF_TASK_CAUGHT});
    close_run();
    resume(run);
    lf_task *t = reused("start");
    CHECK_INT(record_of(t).flags, LF_TASK_REUSED | LF_TASK_CAUGHT);
    lf_task_drop(t);
    end();
}

TEST(what_a_resumed_run_had_reused_is_called_by_where_it_truly_ran)
{
    begin(LINEAR);
    uint32_t first = half_linear(), second = open_run();
    put_deed(second, 1, "start", &(deed){.flags = LF_TASK_REUSED, .origin_run = first, .origin_task = 1});
    put_deed(second, 2, "a",
             &(deed){.after = {1}, .flags = LF_TASK_REUSED, .origin_run = first, .origin_task = 2});
    DID(second, 3, "b", .after = {2});
    close_run();
    resume(second);
    CHECK_STR(taken("start a b finish"), "start a b");
    CHECK_STR(why("a"), "it succeeded in run 1, as task 2");
    CHECK_STR(why("b"), "it succeeded in run 2, as task 3");
    lf_task *t = reused("a");
    CHECK_INT(record_of(t).origin_run, first);
    CHECK_INT(record_of(t).origin_task, 2);
    lf_task_drop(t);
    end();
}

/* ---- what a foreach went over ---- */

/* Checks that `start` opens `n` elements, and how they are laid out. */
static void check_split(uint32_t n, lf_list_kind kind)
{
    lf_task *t = reused("start");
    CHECK_INT(t->width, n);
    CHECK_INT(record_of(t).width, n);
    CHECK(t->opened != NULL);
    CHECK_INT(t->opened->list.size, n);
    CHECK_INT(t->opened->list.kind, kind);
    CHECK_INT(t->opened->step, t->step);
    lf_task_drop(t);
}

TEST(a_reused_foreach_opens_the_list_it_left)
{
    begin(EACH);
    uint32_t run = open_run();
    DID(run, 1, "start", .width = 3, LIST(LIST_OF_3));
    close_run();
    resume(run);
    check_split(3, LF_LIST_ARRAY);
    end();
}

TEST(a_reused_foreach_opens_a_count_an_array_and_a_list_of_nothing)
{
    static const struct { lf_slice list; uint32_t width; lf_list_kind kind; } lists[] = {
        {BYTES("\x05"), 5, LF_LIST_RANGE},
        {BYTES("\xd7\x14\1\0\0\0\2\0\0\0"), 2, LF_LIST_NUMBERS},
        {BYTES("\x90"), 0, LF_LIST_ARRAY},
    };
    begin(EACH);
    for (size_t i = 0; i < 3; i++) {
        uint32_t run = open_run();
        DID(run, 1, "start", .width = lists[i].width, .list = lists[i].list);
        close_run();
        resume(run);
        check_split(lists[i].width, lists[i].kind);
    }
    end();
}

TEST(a_reused_foreach_over_what_it_inherited_finds_it_behind_it)
{
    begin(FLOW("start = { next = 'split' }, split = { next = 'each', foreach = 'list' }, each = { next = 'join' }, "
               "join = { function(self, inputs) end }"));
    uint32_t run = open_run();
    DID(run, 1, "start", LIST(LIST_OF_3));
    DID(run, 2, "split", .after = {1}, .width = 3, .base = 1, .left = "x1");
    close_run();
    resume(run);
    lf_task *t = reused("split");
    CHECK_INT(t->opened->list.size, 3);
    lf_task_drop(t);
    end();
}

TEST(a_reused_foreach_over_a_parameter_reads_the_parameter)
{
    begin(FLOW("start = { next = 'each', foreach = 'n' }, each = { next = 'join' }, "
               "join = { function(self, inputs) end }"));
    uint32_t run = open_run();
    DID(run, 1, "start", .width = 4);
    close_run();
    resume(run);
    check_unusable("start", "run 1 is damaged");
    lf_buf_free(facts->params);
    facts->params = lf_buf_copy("\x81\xa1n\4", 4);
    check_split(4, LF_LIST_RANGE);
    end();
}

TEST(a_split_that_was_reused_stands_in_the_one_around_it)
{
    begin(NESTED);
    uint32_t run = open_run();
    DID(run, 1, "start", .width = 3, LIST(LIST_OF_3));
    DID(run, 2, "row", .at = "[2]", .after = {1}, .width = 3, LIST(LIST_OF_3));
    close_run();
    resume(run);
    lf_task *start = reused("start"), *t = task_at("row[2]");
    t->split = lf_split_ref(start->opened);
    t->split_index = 2;
    CHECK(take_over(t));
    CHECK(t->opened->up == start->opened);
    CHECK_INT(t->opened->up_index, 2);
    lf_task_drop(start);
    CHECK_INT(t->opened->up->list.size, 3);
    lf_task_drop(t);
    end();
}

/* ---- what a reused task left, for those who run after it ---- */

static char letter_of(const lf_found *found)
{
    lf_buf *bytes = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_inputs_load(store, found, &bytes, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    char letter = (char)bytes->data[0];
    CHECK(bytes->size == 1 || bytes->size == BIG);
    lf_buf_free(bytes);
    return letter;
}

/* Everything that the parent of `t` passes on: "x1 yA". */
static const char *inherited(const lf_task *t)
{
    static char words[200];
    words[0] = 0;
    lf_walk w = lf_inputs_walk(t);
    lf_slice name;
    lf_found found, same;
    while (lf_inputs_next(&w, &name, &found)) {
        size_t used = strlen(words);
        snprintf(words + used, sizeof words - used, "%s%.*s%c", used > 0 ? " " : "", (int)name.size,
                 (const char *)name.data, letter_of(&found));
        CHECK(lf_inputs_find(t, name, &same));
        CHECK(lf_ref_equal(&same.ref, &found.ref));
    }
    return words;
}

/* A task at `path` after the reused one at `parent`. */
static lf_task *task_after(const char *parent, const char *path)
{
    lf_task *before = reused(parent), *t = task_at(path);
    before->number = 11;
    t->parent = before;
    return t;
}

static void stand_in(lf_task *t, lf_task **last)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_replay_parent(store, t, last, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
}

/* What is passed on to the task at `path` by the one at `parent`. */
static const char *passed_on(const char *parent, const char *path)
{
    lf_task *last = NULL, *t = task_after(parent, path);
    stand_in(t, &last);
    CHECK(t->parent == last);
    CHECK_INT(last->number, 11);
    const char *words = inherited(t);
    lf_task_drop(t);
    lf_task_drop(last);
    return words;
}

TEST(a_child_reads_what_a_reused_parent_left)
{
    begin(LINEAR);
    uint32_t run = open_run();
    DID(run, 1, "start", .left = "x1 yA z2");
    DID(run, 2, "a", .after = {1}, .base = 1, .left = "w3 x- yB");
    close_run();
    resume(run);
    CHECK_STR(passed_on("start", "a"), "x1 yA z2");
    CHECK_STR(passed_on("a", "b"), "w3 yB z2");
    end();
}

TEST(a_child_reads_past_a_parent_that_was_reused_before)
{
    begin(LINEAR);
    uint32_t first = open_run();
    DID(first, 1, "start", .left = "x1 yA");
    DID(first, 2, "a", .after = {1}, .base = 1, .left = "z2");
    close_run();
    uint32_t second = open_run();
    put_deed(second, 1, "start", &(deed){.flags = LF_TASK_REUSED, .origin_run = first, .origin_task = 1});
    put_deed(second, 2, "a",
             &(deed){.after = {1}, .flags = LF_TASK_REUSED, .origin_run = first, .origin_task = 2});
    close_run();
    resume(second);
    CHECK_STR(passed_on("a", "b"), "z2 x1 yA");
    end();
}

TEST(a_child_reads_past_a_parent_that_stands_on_a_task_of_another_run)
{
    begin(LINEAR);
    uint32_t first = half_linear(), second = open_run();
    (void)first;
    DID(second, 5, "start", .left = "x1 y2 zC");
    close_run();
    uint32_t third = open_run();
    put_deed(third, 1, "start", &(deed){.flags = LF_TASK_REUSED, .origin_run = second, .origin_task = 5});
    put_deed(third, 2, "a",
             &(deed){.after = {1}, .flags = LF_TASK_FAR, .base = 5, .base_run = second, .left = "x3"});
    close_run();
    resume(third);
    lf_task *last = NULL, *t = task_after("a", "b");
    stand_in(t, &last);
    CHECK_STR(inherited(t), "x3 y2 zC");
    CHECK_INT(last->origin_run, third); /* by which what stands on it is called */
    CHECK_INT(last->origin_task, 2);
    CHECK_INT(last->base->origin_run, second);
    CHECK_INT(last->base->origin_task, 5);
    lf_task_drop(t);
    lf_task_drop(last);
    end();
}

TEST(siblings_share_what_stands_in_for_their_parent)
{
    begin(EACH);
    uint32_t run = open_run();
    DID(run, 1, "start", .width = 3, LIST(LIST_OF_3));
    close_run();
    resume(run);
    lf_task *last = NULL, *parent = reused("start"), *children[3];
    parent->number = 1;
    for (uint32_t i = 0; i < 3; i++) {
        children[i] = task_at("each[1]");
        children[i]->parent = lf_task_hold(parent);
        stand_in(children[i], &last);
        CHECK(children[i]->parent == children[0]->parent);
    }
    lf_task *other = reused("start"), *child = task_at("each[1]");
    other->number = 2;
    child->parent = other;
    stand_in(child, &last);
    CHECK(child->parent == last);
    CHECK(child->parent != children[0]->parent);
    for (uint32_t i = 0; i < 3; i++)
        lf_task_drop(children[i]);
    lf_task_drop(child);
    lf_task_drop(parent);
    lf_task_drop(last);
    end();
}

TEST(a_parent_that_ran_here_stays)
{
    begin(LINEAR);
    resume(half_linear());
    lf_task *last = NULL, *parent = task_at("b"), *t = task_at("finish");
    seal(parent, LF_SUCCEEDED);
    t->parent = parent;
    stand_in(t, &last);
    CHECK(t->parent == parent);
    CHECK(last == NULL);
    lf_task_drop(t);
    t = task_at("start"); /* the first has none */
    stand_in(t, &last);
    CHECK(t->parent == NULL);
    CHECK(last == NULL);
    lf_task_drop(t);
    end();
}

/* ---- damage ---- */

/* That no stand-in is made for the reused task at `parent`. */
static void check_no_stand_in(const char *parent, const char *path, const char *words)
{
    lf_task *last = NULL, *t = task_after(parent, path);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_replay_parent(store, t, &last, &err), LUAFLOW_ESTORE);
    CHECK(last == NULL);
    CHECK(t->parent != NULL); /* as it was */
    check_says(&err, words);
    CHECK_INT(lf_replay_parent(store, t, &last, NULL), LUAFLOW_ESTORE);
    lf_task_drop(t);
}

TEST(a_record_that_refers_to_what_is_not_there_is_damage)
{
    begin(LINEAR);
    uint32_t run = open_run();
    put_deed(run, 1, "start", &(deed){.flags = LF_TASK_REUSED, .origin_run = 70, .origin_task = 8});
    DID(run, 2, "a", .after = {1}, .base = 99);
    DID(run, 3, "b", .after = {2}, .base = 2);
    close_run();
    resume(run);
    check_no_stand_in("start", "a", "task 8 of run 70");
    check_no_stand_in("a", "b", "task 99 of run 1");
    check_no_stand_in("b", "finish", "task 2 of run 1"); /* a base that has a base itself */
    end();
}

TEST(a_record_that_reuses_one_that_was_reused_or_failed_is_damage)
{
    begin(LINEAR);
    uint32_t run = open_run();
    put_deed(run, 1, "start", &(deed){.flags = LF_TASK_REUSED, .origin_run = run, .origin_task = 2});
    put_deed(run, 2, "a",
             &(deed){.after = {1}, .flags = LF_TASK_REUSED, .origin_run = run, .origin_task = 3});
    FAILS(run, 3, "b", .after = {2});
    close_run();
    resume(run);
    check_no_stand_in("start", "a", "task 2 of run 1");
    check_no_stand_in("a", "b", "task 3 of run 1");
    end();
}

TEST(a_list_that_is_no_list_or_of_another_length_is_damage)
{
    static const lf_slice lists[] = {BYTES("\x92\x01\x02"), BYTES("\xa1x"), BYTES("\x93\x01"), BYTES("\x04"),
                                     BYTES("\xc0"), BYTES("")};
    begin(EACH);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        uint32_t run = open_run();
        DID(run, 1, "start", .width = 3, .list = lists[i]);
        close_run();
        resume(run);
        check_unusable("start", "is damaged; run luaflow verify");
    }
    end();
}

TEST(a_task_after_ones_that_come_later_or_are_too_many_is_damage)
{
    lf_bytes parents = {0};
    begin(LINEAR);
    uint32_t run = open_run();
    DID(run, 1, "start");
    DID(run, 2, "a", .after = {3});
    DID(run, 3, "b", .after = {2});
    close_run();
    resume(run); /* a parent that has not been taken by then never is */
    CHECK_STR(taken("start a b"), "start");
    run = open_run();
    lf_bytes_put_varint(&parents, 2);
    lf_bytes_put_varint(&parents, 4000000000);
    DID(run, 1, "start", .parents = {parents.data, parents.size});
    close_run();
    check_damaged(run, "the record of task 1 of run 2");
    run = open_run();
    DID(run, 1, "start", .parents = {(const uint8_t *)"\xff", 1});
    close_run();
    check_damaged(run, "the record of task 1 of run 3");
    lf_bytes_fini(&parents);
    end();
}

TEST(a_record_of_a_step_there_never_was_is_passed_over)
{
    begin(SWITCH);
    uint32_t run = open_run();
    put_step(run, 1, 4000000000, &(deed){.at = ""});
    put_step(run, 2, LF_NONE, &(deed){.at = ""});
    close_run();
    resume(run);
    CHECK_STR(taken("start small large finish"), "");
    end();
}

TEST(a_switch_that_chose_no_step_does_not_fit)
{
    begin(SWITCH);
    uint32_t run = open_run();
    DID(run, 1, "start", .chose = "no such step");
    close_run();
    check_misfit(run, "start", "the step that its switch chose");
    end();
}

TEST(a_description_that_is_none_is_damage)
{
    static const lf_slice descriptions[] = {
        BYTES("\x80"), BYTES("\xc0"), BYTES(""),
        BYTES("\x81\xa5steps\xcf\0\x10\0\0\0\0\0\0"),     /* a very large number */
        BYTES("\x81\xa5steps\xd7\x14\1\0\0\0\2\0\0\0"), /* an array of numbers */
        BYTES("\x81\xa5steps\xdd\xff\xff\xff\xff"),
    };
    begin(LINEAR);
    for (size_t i = 0; i < sizeof descriptions / sizeof *descriptions; i++) {
        uint32_t run = open_run_described(descriptions[i]);
        DID(run, 1, "start");
        close_run();
        check_damaged(run, "damaged");
    }
    end();
}

TEST(a_description_of_strange_steps_takes_nothing_over)
{
    /* none; numbers; some without names */
    static const lf_slice strange[] = {BYTES("\x81\xa5steps\x90"), BYTES("\x81\xa5steps\x92\x01\x02"),
                                       BYTES("\x81\xa5steps\x92\x90\x81\xa1n\x01")};
    begin(LINEAR);
    for (size_t i = 0; i < 3; i++) {
        uint32_t run = open_run_described(strange[i]);
        DID(run, 1, "start");
        close_run();
        resume(run);
        CHECK_STR(taken("start a"), "");
    }
    end();
}

TEST(a_description_of_a_step_that_goes_to_no_step_is_damage)
{
    /* `next` is a number; there is none */
    static const lf_slice strange[] = {
        BYTES("\x81\xa5steps\x91\x83\xa4kind\xa6linear\xa4name\xa5start\xa4next\x01"),
        BYTES("\x81\xa5steps\x91\x82\xa4kind\xa6linear\xa4name\xa5start")};
    begin(LINEAR);
    for (size_t i = 0; i < 2; i++) {
        uint32_t run = open_run_described(strange[i]);
        DID(run, 1, "start");
        close_run();
        check_damaged(run, "damaged");
    }
    end();
}

/* ---- large ones ---- */

static uint32_t seed = 1;

static uint32_t chance(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

TEST(records_that_make_no_sense_harm_nobody)
{
    static const char *const places[] = {"", "[1]", "[2]", "#2", "[1][2]", "[1]#2"};
    static const lf_slice lists[] = {BYTES("\x90"), BYTES(LIST_OF_3), BYTES("\x05"), BYTES("\xa1x"),
                                     BYTES("\xcf\0\x1f\xff\xff\xff\xff\xff\xff")};
    static const char *const flows[] = {EACH, NESTED, LOOP, SWITCH, BRANCH};
    begin(EACH);
    for (int round = 0; round < 60; round++) {
        edit(flows[chance(5)]);
        uint32_t run = open_run(), size = lf_graph_size(lf_flow_graph(flow));
        for (uint32_t number = 1; number < 12; number++) {
            deed d = {.at = places[chance(6)], .after = {chance(12), chance(12)}, .flags = (uint8_t)chance(16),
                      .width = chance(5), .base = chance(3) ? 0 : chance(14), .base_run = chance(3),
                      .origin_run = chance(round + 3), .origin_task = chance(13), .attempt = chance(3),
                      .list = lists[chance(5)], .left = chance(2) ? "x1 yA" : NULL};
            put_step(run, number, chance(size + 1), &d);
        }
        close_run();
        if (chance(2))
            edit(flows[chance(5)]);
        if (make_replay(run, chance(3) ? NULL : "start", NULL) != LUAFLOW_OK)
            continue;
        for (uint32_t i = 0; i < lf_graph_size(lf_flow_graph(flow)) * 6; i++) {
            char path[60];
            bool is_reused = false;
            lf_task *last = NULL;
            snprintf(path, sizeof path, "%s%s", lf_graph_step(lf_flow_graph(flow), i / 6)->name, places[i % 6]);
            lf_task *t = task_at(path);
            replay_task(store, t, &is_reused, NULL);
            if (is_reused) {
                lf_task *child = task_at("start");
                child->parent = lf_task_hold(t);
                lf_replay_parent(store, child, &last, NULL);
                lf_task_drop(child);
            }
            lf_task_drop(last);
            lf_task_drop(t);
        }
    }
    end();
}

TEST(of_a_hundred_thousand_elements_each_is_found)
{
    enum { MANY = 100000 };
    begin(EACH);
    uint32_t run = open_run();
    DID(run, 1, "start", .width = MANY, LIST("\xce\0\1\x86\xa0"));
    for (uint32_t i = 1; i <= MANY; i++) {
        char at[20];
        snprintf(at, sizeof at, "[%u]", i);
        put_deed(run, 1 + i, "each", &(deed){.at = at, .after = {1}, .flags = i % 10 ? 0 : LF_TASK_FAILED});
    }
    close_run();
    resume(run);
    check_split(MANY, LF_LIST_RANGE);
    uint32_t n = 0;
    for (uint32_t i = 1; i <= MANY; i++) {
        char path[30];
        snprintf(path, sizeof path, "each[%u]", i);
        lf_task *t = task_at(path);
        n += take_over(t);
        CHECK(t->origin_run == 0 || t->origin_task == 1 + i);
        lf_task_drop(t);
    }
    CHECK_INT(n, MANY - MANY / 10);
    end();
}

TEST(a_flow_of_thousands_of_steps_is_compared_in_no_time)
{
    enum { STEPS = 4000 };
    lf_bytes source = {0};
    lf_bytes_printf(&source, "return { name = 'F', steps = { start = { next = 's1' }, ");
    for (int i = 1; i < STEPS; i++)
        lf_bytes_printf(&source, "s%d = { next = 's%d' }, ", i, i + 1);
    lf_bytes_printf(&source, "s%d = {} } }", STEPS);
    begin(lf_bytes_cstr(&source));
    lf_bytes_fini(&source);
    uint32_t run = open_run();
    DID(run, 1, "start");
    DID(run, 2, "s1", .after = {1});
    close_run();
    resume(run);
    CHECK_STR(taken("start s1 s2 s4000"), "start s1");
    end();
}
