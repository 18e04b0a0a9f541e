/* SPDX-License-Identifier: MIT */
/*
 * poolstat doctor: what this host and this user allow a pool. One table of checks (doctor_table.c)
 * gives --help, the man page and a table in Kbuild-notes.md; each check tries what a pool would do,
 * with the pool's own functions where there are some.
 */
#ifndef SPILLWAY_TOOLS_POOLSTAT_DOCTOR_H
#define SPILLWAY_TOOLS_POOLSTAT_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../lib/os.h"
#include "../../lib/settings.h"

/* Also the exit code. */
enum doctor_level { DOCTOR_OK, DOCTOR_FALLS_BACK, DOCTOR_BROKEN };

enum { DOCTOR_TEXT = 512, DOCTOR_FINDINGS_MAX = 128 };

struct doctor;

struct doctor_check {
    const char *name;
    const char *looks_at;
    const char *how;
    const char *without;   /* what happens where it is not to be had */
    const char *remedy;    /* in general; a finding has the exact command */
    const char *fallbacks; /* names that a pool counts for it, with spaces between; "": none */
    void (*run)(struct doctor *doctor);
};

/* Ended by one without a name. */
extern const struct doctor_check doctor_checks[];

struct doctor_finding {
    const struct doctor_check *check;
    enum doctor_level level;
    char found[DOCTOR_TEXT];
    char happens[DOCTOR_TEXT]; /* what becomes of it; "" where all is well */
    char remedy[DOCTOR_TEXT];  /* a command; "": there is nothing to mend */
    bool as_root;              /* the command needs root */
};

struct doctor {
    const struct os *os;
    const char *root;                 /* before /proc, /sys and mount points, in tests; "" */
    char *const *environment;         /* NULL at the end */
    struct settings settings;         /* as a service with this environment would have them */
    uint64_t probe_ns;                /* how long the speed of a directory is measured, both ways */
    const struct doctor_check *check; /* that runs */
    struct doctor_finding *findings;  /* DOCTOR_FINDINGS_MAX of them */
    unsigned count;
};

/* Looks at everything, or at the checks named in `only` (NULL at the end; NULL: all). Returns 0,
 * -ENOMEM, or -ENOENT: `only` has a name that no check has. */
int doctor_open(struct doctor *doctor, const struct os *os, const char *root,
                char *const *environment);
int doctor_run(struct doctor *doctor, const char *const *only);
void doctor_close(struct doctor *doctor);

enum doctor_level doctor_worst(const struct doctor *doctor);

/* ---- for checks ---- */

/* A new finding; `format` is what was found. Never NULL. */
struct doctor_finding *doctor_add(struct doctor *doctor, enum doctor_level level,
                                  const char *format, ...) __attribute__((format(printf, 3, 4)));
void doctor_happens(struct doctor_finding *finding, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A command for the user's shell, before the service is started there; or for root's. */
void doctor_mend(struct doctor_finding *finding, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void doctor_mend_as_root(struct doctor_finding *finding, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A small file below `root`, cut at its first newline; false where it cannot be read. */
bool doctor_read(const struct doctor *doctor, const char *path, char *out, size_t capacity);

/* The first number in it; `fallback` where there is none. */
uint64_t doctor_number(const struct doctor *doctor, const char *path, uint64_t fallback);

/* The word in brackets, as in "always [madvise] never"; "" where there is none. */
void doctor_choice(const struct doctor *doctor, const char *path, char *out, size_t capacity);

/* Whether a seccomp filter is on this process. */
bool doctor_filtered(const struct doctor *doctor);

/* `text` as one word of a shell. Returns `out`. */
const char *doctor_quoted(const char *text, char out[DOCTOR_TEXT]);

/* The value of a variable of the environment, NULL where it is not set or empty. */
const char *doctor_variable(const struct doctor *doctor, const char *name);

/* ---- the checks ---- */

void doctor_check_settings(struct doctor *doctor);
void doctor_check_io_uring(struct doctor *doctor);
void doctor_check_threads(struct doctor *doctor);
void doctor_check_seals(struct doctor *doctor);
void doctor_check_stats_page(struct doctor *doctor);
void doctor_check_fork(struct doctor *doctor);
void doctor_check_populate(struct doctor *doctor);
void doctor_check_memlock(struct doctor *doctor);
void doctor_check_descriptors(struct doctor *doctor);
void doctor_check_file_size(struct doctor *doctor);
void doctor_check_maps(struct doctor *doctor);
void doctor_check_cgroup(struct doctor *doctor);
void doctor_check_pressure(struct doctor *doctor);
void doctor_check_nodes(struct doctor *doctor);
void doctor_check_huge_pages(struct doctor *doctor);
void doctor_check_thp(struct doctor *doctor);
void doctor_check_swap(struct doctor *doctor);
void doctor_check_scratch(struct doctor *doctor);
void doctor_check_services(struct doctor *doctor);

#endif
