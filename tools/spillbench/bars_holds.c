/* SPDX-License-Identifier: MIT */
#include "bars_holds.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipes.h"

/* Where the library's stopwatch looks at the clock, in the mode in which it times every hold. */
#define TAKEN  "stopwatch_hold"
#define LET_GO "stopwatch_let_go"

enum { PATH_BYTES = 600 };

bool holds_read(FILE *dump, uint64_t *instructions)
{
    char line[512];
    bool of_hold = false, counted = false;

    while (fgets(line, sizeof(line), dump)) {
        if (strncmp(line, "desc: Trigger:", 14) == 0)
            of_hold = strstr(line, LET_GO) != NULL;
        else if (sscanf(line, "totals: %" SCNu64, instructions) == 1)
            counted = true;
    }
    return of_hold && counted;
}

/* Reads and removes all that is in the directory, and it. */
static int dumps_read(const char *path, struct holds *holds)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    if (!dir)
        return -errno;
    while ((entry = readdir(dir))) {
        char name[PATH_BYTES + 256];
        uint64_t instructions;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        FILE *file = fopen(name, "r");
        if (file && holds_read(file, &instructions)) {
            holds->count++;
            if (instructions > holds->longest)
                holds->longest = instructions;
        }
        if (file)
            fclose(file);
        unlink(name);
    }
    closedir(dir);
    return rmdir(path) == 0 ? 0 : -errno;
}

/* Threads instead of io_uring: a thread that waits in the ring can stop a program below valgrind.
 */
static int run_stress(const char *path, const char *dir, uint64_t memory_bytes)
{
    char self[512], out[PATH_BYTES + 64], said[PATH_BYTES + 64], memory[32], total[32];
    ssize_t bytes = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (bytes < 0)
        return -errno;
    self[bytes] = '\0';
    snprintf(out, sizeof(out), "--callgrind-out-file=%s/holds.%%p", path);
    snprintf(said, sizeof(said), "%s/said", path);
    snprintf(memory, sizeof(memory), "%" PRIu64, memory_bytes);
    snprintf(total, sizeof(total), "%" PRIu64, 3 * memory_bytes);
    char *const argv[] = {"env",
                          "SPILLWAY_TIMING=all",
                          "SPILLWAY_ENGINE=threads",
                          "valgrind",
                          "-q",
                          "--trace-children=yes",
                          "--tool=callgrind",
                          "--separate-threads=yes",
                          "--zero-before=" TAKEN,
                          "--dump-before=" LET_GO,
                          out,
                          self,
                          "stress",
                          "--quiet",
                          "--no-verify",
                          "--no-latency",
                          "--pairs",
                          "1",
                          "--memory",
                          memory,
                          "--total",
                          total,
                          "--chunk",
                          "64KiB",
                          dir ? "--dir" : NULL,
                          (char *)(uintptr_t)dir,
                          NULL};
    return pipes_run(argv, said);
}

int holds_count(const char *dir, uint64_t memory_bytes, struct holds *holds)
{
    const char *parent = getenv("TMPDIR");
    char path[PATH_BYTES];

    *holds = (struct holds){.count = 0};
    if (!pipes_installed("valgrind"))
        return -ENOENT;
    snprintf(path, sizeof(path), "%.500s/spillbench-XXXXXX",
             dir                 ? dir
             : parent && *parent ? parent
                                 : "/var/tmp");
    if (!mkdtemp(path))
        return -errno;
    int rc = run_stress(path, dir, memory_bytes), read = dumps_read(path, holds);
    if (rc == 0)
        rc = read;
    return rc == 0 && holds->count == 0 ? -ENODATA : rc;
}
