/* measure REPORT PROGRAM ARGUMENT...
 *
 * Runs a program and writes what it took: wall seconds, user and system seconds of it and of its children, and the
 * peak resident memory of the largest of them. A process of its own, because Linux counts the memory of the process
 * that called fork() to the child's peak: started from Python everything would look as large as Python. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double seconds(struct timeval t) { return t.tv_sec + t.tv_usec / 1e6; }

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: measure REPORT PROGRAM ARGUMENT...\n");
        return 125;
    }
    double started = now();
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    int status;
    struct rusage used;
    if (child < 0 || wait4(child, &status, 0, &used) < 0) {
        perror("measure");
        return 125;
    }
    double took = now() - started;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    FILE *report = fopen(argv[1], "w");
    if (!report) {
        perror(argv[1]);
        return 125;
    }
    fprintf(report, "{\"code\": %d, \"seconds\": %.6f, \"user\": %.6f, \"system\": %.6f, \"peak_kib\": %ld}\n",
            code, took, seconds(used.ru_utime), seconds(used.ru_stime), used.ru_maxrss);
    return fclose(report) ? 125 : 0;
}
