/* SPDX-License-Identifier: MIT */
/*
 * How a stats page is read by other processes. It describes itself, so that pools and readers of
 * different versions understand each other: sections are found by name, in the sections' list, and
 * the fields of their rows by name, in the section "fields". What a reader does not know it leaves
 * out or shows by its name; what it misses is not there. Numbers are of the machine's own byte
 * order, and 64 bits wide within rows.
 *
 * Counters and gauges change at any time, each for itself. Texts change while `sequence` is odd.
 * The file is sealed: it neither grows nor shrinks, and nobody but the pool writes.
 */
#ifndef SPILLWAY_POOL_PAGE_FORMAT_H
#define SPILLWAY_POOL_PAGE_FORMAT_H

#include <stdatomic.h>
#include <stdint.h>

/* The memfd's name; links in /proc/PID/fd show it as "/memfd:spillway-stats (deleted)". */
#define PAGE_FILE  "spillway-stats"
#define PAGE_MAGIC "SPWSTATS" /* without its NUL */

enum {
    PAGE_LAYOUT = 1, /* goes up when older readers would misunderstand: never for what is added */
    PAGE_MAGIC_BYTES = 8,
    PAGE_MAX_BYTES = 1 << 24, /* none will ever be larger */
};

enum page_state { PAGE_MAKING, PAGE_OPEN, PAGE_CLOSED };

struct page_header {
    char magic[PAGE_MAGIC_BYTES];
    uint32_t layout;
    uint32_t header_bytes; /* of this struct, which grows at the end */
    uint64_t page_bytes;
    uint64_t sections_offset; /* of struct page_section */
    uint32_t sections, section_bytes;
    _Atomic uint64_t state;    /* enum page_state */
    _Atomic uint64_t sequence; /* odd while texts change */
    uint64_t id;               /* of this pool: another one's differs, even in the same process */
    uint64_t pid;              /* as the process sees it; 0: it does not know */
    uint64_t start_ticks;      /* when the process started, as in /proc/PID/stat; 0: not known */
    uint64_t opened_ns;        /* CLOCK_MONOTONIC */
    char library[32];          /* version */
    char name[64];             /* of the pool */
    uint64_t reserved;
};

/* What follows never moves: offsets are the same in every layout. */
_Static_assert(sizeof(struct page_header) == 192, "a part of the format");

struct page_section {
    char name[16];
    uint64_t offset;
    uint32_t rows, row_bytes;
    uint32_t first_field, fields; /* in the section "fields" */
};

_Static_assert(sizeof(struct page_section) == 40, "a part of the format");

enum page_kind {
    PAGE_COUNTER = 1, /* only grows */
    PAGE_GAUGE,
    PAGE_SUM,  /* a gauge that may be below 0 for a moment, and then stands for 0 */
    PAGE_TIME, /* CLOCK_MONOTONIC in ns; 0: none */
    PAGE_TEXT, /* NUL at the end, if shorter than its bytes */
    /* Numbers: how often, for each bucket (see stats.h); then the highest value; their sum. */
    PAGE_HISTOGRAM,
    PAGE_COMPUTED, /* a gauge that the reader makes of others; its place says nothing */
};

struct page_field {
    char name[48];
    uint32_t offset, bytes; /* in a row */
    uint32_t kind;          /* enum page_kind */
    uint32_t reserved;
};

_Static_assert(sizeof(struct page_field) == 64, "a part of the format");

#endif
