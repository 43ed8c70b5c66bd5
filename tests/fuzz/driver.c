/* driver.c -- runs a fuzz target where there is no libFuzzer: on a corpus as it is, and then on
 * changes of it made by chance, the same for the same seed.
 *
 *     fuzz_codec CORPUS [COUNT [SEED]] */
#include "fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LONGEST = 4096, MOST_SEEDS = 4096 };

static lf_bytes seeds[MOST_SEEDS];
static size_t n_seeds;
static unsigned long long seed = 1, number; /* of the case that runs */
static uint64_t chance;
static lf_slice running; /* its bytes */

static void say_where(void)
{
    fprintf(stderr, "in case %llu of seed %llu:\n", number, seed);
    for (size_t i = 0; i < running.size; i++)
        fprintf(stderr, "\\x%02x", running.data[i]);
    fputc('\n', stderr);
}

static void on_signal(int signal)
{
    say_where();
    raise(signal); /* the action was reset */
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch(void)
{
    static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(say_where);
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        if (__sanitizer_set_death_callback == NULL || fatal[i] == SIGABRT || fatal[i] == SIGALRM)
            sigaction(fatal[i], &(struct sigaction){.sa_handler = on_signal, .sa_flags = SA_RESETHAND}, NULL);
}

static uint32_t below(uint32_t n)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (uint32_t)((chance >> 16) % n);
}

/* ---- the corpus ---- */

static void load(const char *directory, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL || n_seeds == MOST_SEEDS)
        fuzz_stop("cannot read %s", path);
    lf_bytes *to = &seeds[n_seeds++];
    uint8_t *room = lf_bytes_reserve(to, LONGEST);
    MUST(room != NULL);
    to->size = fread(room, 1, LONGEST, file);
    fclose(file);
}

static int is_file(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static void load_all(const char *directory)
{
    struct dirent **names;
    int n = scandir(directory, &names, is_file, alphasort);
    if (n <= 0)
        fuzz_stop("there is no corpus in %s", directory);
    for (int i = 0; i < n; i++) {
        load(directory, names[i]->d_name);
        free(names[i]);
    }
    free(names);
}

/* ---- changing ---- */

static uint8_t any_byte(void)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x20, '"', '\\', '/', ',', '-'};
    return below(3) == 0 ? edges[below(sizeof edges)] : (uint8_t)below(256);
}

/* Puts `n` bytes of a seed, or any, at `at`. */
static void insert(uint8_t *data, size_t *size, size_t at, size_t n)
{
    const lf_bytes *from = &seeds[below((uint32_t)n_seeds)];
    if (n > LONGEST - *size)
        n = LONGEST - *size;
    memmove(data + at + n, data + at, *size - at);
    size_t start = from->size > 0 ? below((uint32_t)from->size) : 0;
    bool copy = below(2) == 0;
    for (size_t i = 0; i < n; i++)
        data[at + i] = copy && start + i < from->size ? from->data[start + i] : any_byte();
    *size += n;
}

static void change(uint8_t *data, size_t *size)
{
    size_t at = *size > 0 ? below((uint32_t)*size) : 0;
    size_t n = 1 + below(below(8) == 0 ? 200 : 4);
    if (*size == 0) {
        insert(data, size, 0, n);
        return;
    }
    if (n > *size - at)
        n = *size - at;
    switch (below(6)) {
    case 0: data[at] ^= (uint8_t)(1 << below(8)); break;
    case 1: data[at] = any_byte(); break;
    case 2: data[at] = (uint8_t)(data[at] + below(9) - 4); break;
    case 3: insert(data, size, at, n); break;
    case 4:
        memmove(data + at, data + at + n, *size - at - n);
        *size -= n;
        break;
    case 5: memmove(data + below((uint32_t)(*size - n + 1)), data + at, n); break;
    }
}

static void run_case(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1); /* of this size, so that a sanitizer sees its end */
    MUST(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    alarm(60);
    running = lf_slice_of(copy, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_changed(void)
{
    static uint8_t data[LONGEST];
    const lf_bytes *from = &seeds[below((uint32_t)n_seeds)];
    size_t size = from->size;
    memcpy(data, from->data, size);
    for (uint32_t i = 1 + below(6); i > 0; i--)
        change(data, &size);
    run_case(data, size);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4)
        fuzz_stop("%s CORPUS [COUNT [SEED]]", argv[0]);
    unsigned long long count = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    watch();
    load_all(argv[1]);
    for (size_t i = 0; i < n_seeds; i++)
        run_case(seeds[i].data, seeds[i].size);
    for (number = 1; number <= count; number++) {
        chance = (seed * UINT64_C(0x9e3779b97f4a7c15) + number) * UINT64_C(0xbf58476d1ce4e5b9) | 1;
        run_changed();
    }
    for (size_t i = 0; i < n_seeds; i++)
        lf_bytes_fini(&seeds[i]);
    printf("%zu seeds and %llu changes of them (seed %llu)\n", n_seeds, count, seed);
    return 0;
}
