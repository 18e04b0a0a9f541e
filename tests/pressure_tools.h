/* SPDX-License-Identifier: MIT */
/* A made-up /proc and /sys in real files, and a pressure source over it. */
#ifndef SPILLWAY_TESTS_PRESSURE_TOOLS_H
#define SPILLWAY_TESTS_PRESSURE_TOOLS_H

#include <stdbool.h>
#include <stdint.h>

#include "../policies/pressure_source.h"

enum { RIG_PATH = 512, RIG_WRITES = 16, RIG_WRITE_BYTES = 64 };

#define RIG_STALL_NS  UINT64_C(150000000)
#define RIG_WINDOW_NS UINT64_C(1000000000)

/* One test is one process, so there is one rig. */
struct pressure_rig {
    char root[256];
    struct pressure_source_config config; /* over fault_os, fault_allocator and the log below */
    struct log log;
    struct pressure_source *source;
    struct pressure_reading reading;
    char last_line[600]; /* that was logged */
    enum spw_log_level last_level;
    unsigned lines;
};
extern struct pressure_rig rig;

/* An empty root; the clock stands still at 100 s. Skips the test where there is no place for it. */
void rig_begin(void);

/* Closes the source; nothing must be left open or allocated. Removes the root. */
void rig_end(void);

/* Skips the test; nothing is left then either. */
void rig_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* root + path, valid until the call after the next one. */
const char *rig_path(const char *path);

/* Files below the root, with the folders above them. */
void rig_put(const char *path, const char *text);
void rig_remove(const char *path);

/* "some" (and "full", half of it) with this total. */
void rig_put_pressure(const char *path, uint64_t total_us);

/* Where the process is: a group "/a/b" of a pure version 2 machine, or of a hybrid one. */
void rig_pure_v2(void);
void rig_hybrid(void);
#define RIG_GROUP_V2     "/sys/fs/cgroup/a/b"
#define RIG_GROUP_HYBRID "/sys/fs/cgroup/unified/a/b"
#define RIG_PROC         "/proc/pressure/memory"

/* Opens rig.source, which must work. */
void rig_open(void);

/* What poll(2) says at once about the source. */
short rig_poll(void);

/* Reads into rig.reading, which must work; returns whether it is an event. */
bool rig_read(short revents);

/* Polls and reads. */
bool rig_turn(void);

/* The source is this one, told in this way, at this path below the root ("": none). */
void rig_is(const char *name, enum pressure_way way, const char *path);

/* The reason given for what is not used has this text in it. */
void rig_why(const char *text);

/*
 * From now on files below the root are taken for the kernel's, and what is written to them as a
 * trigger is answered by `answers` in turn, -errno or 0; the last answer stays. Nothing reaches the
 * files.
 */
void rig_kernel(const int *answers, unsigned count);

/* Text of the n-th trigger that was written, NULL: fewer were; the length counts a NUL at the
 * end. */
const char *rig_trigger(unsigned n, size_t *len);

#endif
