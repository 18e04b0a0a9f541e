/* SPDX-License-Identifier: MIT */
/*
 * A copy of a pool's stats page, taken by reading its file: nothing that happens to the file can
 * end this process, and nothing that it says is believed before it was checked. What the page
 * has is found by name, so that pages of other versions can be read as well.
 */
#ifndef SPILLWAY_TOOLS_POOLSTAT_PAGE_COPY_H
#define SPILLWAY_TOOLS_POOLSTAT_PAGE_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../pool/page_format.h"

enum { PAGE_WHY = 160, PAGE_NAME_BYTES = 49 };

struct copied_section {
    char name[17];
    uint64_t offset;
    uint32_t rows, row_bytes;
    uint32_t first_field, fields;
};

struct copied_field {
    char name[PAGE_NAME_BYTES];
    uint32_t offset, bytes;
    uint32_t kind; /* enum page_kind, or one that is not known here */
};

struct page_copy {
    unsigned char *bytes;
    size_t size;
    struct page_header header; /* texts cleaned and ended */
    struct copied_section *sections;
    struct copied_field *fields;
    uint32_t section_count, field_count;
    uint64_t taken_ns;       /* CLOCK_MONOTONIC */
    uint64_t texts_sequence; /* the header's, when texts were read; odd: they never were */
    bool torn;               /* its owner was stopped while it changed a text */
};

/*
 * Reads and checks a whole page. Returns 0, or -errno with a reason in `why` that continues a
 * sentence: -EAGAIN (it is just being made), -EPERM (not sealed), -EBADMSG (truncated, or not what
 * a pool writes), -EPROTO (a layout that is not known here), -ENOMEM, or what reading said.
 * page_copy_close() is for success only.
 */
int page_copy_open(int fd, struct page_copy *out, char why[PAGE_WHY]);

/* The same of bytes in memory, which are copied; without a look at seals. */
int page_copy_parse(const void *bytes, size_t size, struct page_copy *out, char why[PAGE_WHY]);

/* Reads what changes anew; `queues`: theirs, too. Returns as page_copy_open(). */
int page_copy_refresh(int fd, struct page_copy *copy, bool queues, char why[PAGE_WHY]);

void page_copy_close(struct page_copy *copy);

/* NULL: the page has none of that name. */
const struct copied_section *page_section(const struct page_copy *copy, const char *name);
const struct copied_field *page_field(const struct page_copy *copy,
                                      const struct copied_section *section, const char *name);

/* A number of a row; sums that are below 0 for a moment are 0. */
uint64_t page_number(const struct page_copy *copy, const struct copied_section *section,
                     uint32_t row, const struct copied_field *field);

/* One of a histogram's numbers, `index` below page_histogram_numbers(). */
uint64_t page_histogram_number(const struct page_copy *copy, const struct copied_section *section,
                               const struct copied_field *field, uint32_t index);
uint32_t page_histogram_numbers(const struct copied_field *field);

/* A text, cleaned. Returns `out`. */
const char *page_text(const struct page_copy *copy, const struct copied_section *section,
                      uint32_t row, const struct copied_field *field, char *out, size_t capacity);

#endif
