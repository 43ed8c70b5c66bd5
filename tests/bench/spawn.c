/* spawn.c -- the least that a process for each task takes: /bin/true is started and waited for,
 * so many times, one after the other.
 *
 *     spawn TIMES                       prints: seconds */
#include "bench.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: spawn TIMES\n");
        return 2;
    }
    size_t times = number_of(argv[1]);
    char *command[] = {"true", NULL};
    double started = now();
    for (size_t i = 0; i < times; i++) {
        pid_t child;
        int status;
        check(posix_spawn(&child, "/bin/true", NULL, NULL, command, environ), "start /bin/true");
        while (waitpid(child, &status, 0) < 0)
            check(errno == EINTR ? 0 : errno, "wait for /bin/true");
    }
    printf("%.9f\n", now() - started);
    return 0;
}
