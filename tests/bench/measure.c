/* measure.c -- how long a command takes from its start to its end, and its greatest memory.
 * A program of its own and not a function of the script: a child's peak begins with the
 * memory of who starts it, so that must be small.
 *
 *     measure COMMAND ARGUMENTS…        prints: seconds kilobytes seconds
 *
 * the last being what the processors spent on it, its own children included.
 *
 * What the command writes to stdout is dropped. Ctrl-C is for the command: its end is waited
 * for, so that nobody removes its files beneath it. */
#include "bench.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static double seconds_of(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec * 1e-6; }

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: measure COMMAND ARGUMENTS...\n");
        return 2;
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    check(posix_spawn_file_actions_init(&actions), "start a command");
    check(posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0),
          "start a command");
    check(posix_spawnattr_init(&attributes), "start a command");
    check(posix_spawnattr_setsigdefault(&attributes, &interrupt), "start a command");
    check(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF), "start a command");
    signal(SIGINT, SIG_IGN);

    pid_t child;
    double started = now();
    check(posix_spawnp(&child, argv[1], &actions, &attributes, argv + 1, environ), argv[1]);
    int status;
    struct rusage used;
    while (wait4(child, &status, 0, &used) < 0)
        check(errno == EINTR ? 0 : errno, "wait for a command");
    double seconds = now() - started;
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);

    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "bench: this command failed:");
        for (int i = 1; i < argc; i++)
            fprintf(stderr, " %s", argv[i]);
        fprintf(stderr, "\n");
        return 1;
    }
    printf("%.9f %ld %.6f\n", seconds, used.ru_maxrss,
           seconds_of(used.ru_utime) + seconds_of(used.ru_stime));
    return 0;
}
