/* blocks.c -- the least that storing and loading large values takes: to store one, a copy of it
 * (its owner may go on changing it), its XXH3-128, and a file written from the copy, synced; to
 * load it, its bytes read into fresh memory, and their XXH3-128.
 *
 *     blocks DIRECTORY BYTES TIMES      prints: seconds to store, seconds to load
 *
 * TIMES values of BYTES each, one after the other into one file, with a sync for every 64 MB. */
#include "bench.h"

#define XXH_INLINE_ALL
#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#define AT_ONCE ((size_t)4 << 20)
#define SYNC    ((size_t)64 << 20)

typedef struct output {
    int file;
    size_t unsynced;
} output;

static void sync_file(output *o)
{
    check(fdatasync(o->file) == 0 ? 0 : errno, "sync a file");
    o->unsynced = 0;
}

static void write_all(output *o, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(o->file, bytes, size < AT_ONCE ? size : AT_ONCE);
        check(n < 0 ? errno : 0, "write a file");
        bytes += n;
        size -= (size_t)n;
        o->unsynced += (size_t)n;
        if (o->unsynced >= SYNC)
            sync_file(o);
    }
}

static XXH128_hash_t store(output *o, const uint8_t *bytes, size_t size)
{
    uint8_t *copy = take_memory(size);
    memcpy(copy, bytes, size);
    XXH128_hash_t hash = XXH3_128bits(copy, size);
    write_all(o, copy, size);
    free(copy);
    return hash;
}

static XXH128_hash_t load(int file, size_t size)
{
    uint8_t *bytes = take_memory(size);
    for (size_t at = 0; at < size;) {
        ssize_t n = read(file, bytes + at, size - at);
        check(n < 0 ? errno : n == 0 ? EIO : 0, "read a file");
        at += (size_t)n;
    }
    XXH128_hash_t hash = XXH3_128bits(bytes, size);
    free(bytes);
    return hash;
}

static void fill(uint8_t *bytes, size_t size, uint64_t number)
{
    for (size_t at = 0; at + sizeof number <= size; at += sizeof number) {
        uint64_t word = number * size + at;
        memcpy(bytes + at, &word, sizeof word);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: blocks DIRECTORY BYTES TIMES\n");
        return 2;
    }
    size_t size = number_of(argv[2]), times = number_of(argv[3]);
    uint8_t *bytes = take_memory(size);
    XXH128_hash_t *stored = take_memory(times * sizeof *stored);
    check(chdir(argv[1]) == 0 ? 0 : errno, argv[1]);
    output o = {open("blocks", O_RDWR | O_CREAT | O_TRUNC, 0600), 0};
    check(o.file < 0 ? errno : 0, "make a file");

    double storing = 0;
    for (size_t i = 0; i < times; i++) {
        fill(bytes, size, i);
        double started = now();
        stored[i] = store(&o, bytes, size);
        storing += now() - started;
    }
    double started = now();
    sync_file(&o);
    storing += now() - started;

    check(lseek(o.file, 0, SEEK_SET) == 0 ? 0 : errno, "read a file");
    started = now();
    for (size_t i = 0; i < times; i++)
        check(XXH128_isEqual(load(o.file, size), stored[i]) ? 0 : EIO, "find what was written");
    printf("%.9f %.9f\n", storing, now() - started);
    close(o.file);
    free(stored);
    free(bytes);
    return 0;
}
