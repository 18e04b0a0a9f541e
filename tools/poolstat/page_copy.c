/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "page_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/text.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

enum {
    SECTIONS_MAX = 256, /* more is a mistake */
    FIELDS_MAX = 16384,
    TRIES_MAX = 100, /* while texts change */
    TRY_PAUSE_NS = 100000,
};

#define REFUSE(why, err, ...) ((void)snprintf(why, PAGE_WHY, __VA_ARGS__), (err))

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- reading ---- */

static int read_range(int fd, unsigned char *to, uint64_t offset, size_t len, char why[PAGE_WHY])
{
    while (len > 0) {
        ssize_t got = pread(fd, to, len, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return REFUSE(why, -errno, "cannot be read: %s", strerror(errno));
        if (got == 0)
            return REFUSE(why, -EBADMSG, "is truncated at %llu bytes", (unsigned long long)offset);
        to += got;
        offset += (uint64_t)got;
        len -= (size_t)got;
    }
    return 0;
}

/* A pool writes what a page begins with when all else is there. */
static int check_ready(int fd, char why[PAGE_WHY])
{
    static const char nothing[PAGE_MAGIC_BYTES];
    char begin[PAGE_MAGIC_BYTES] = "";

    if (pread(fd, begin, sizeof(begin), 0) < 0)
        return REFUSE(why, -errno, "cannot be read: %s", strerror(errno));
    if (memcmp(begin, nothing, sizeof(begin)) == 0)
        return REFUSE(why, -EAGAIN, "is just being made");
    return 0;
}

/* Anybody of that user may write to a memfd that is not sealed: what it says means nothing. */
static int check_seals(int fd, char why[PAGE_WHY])
{
    int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0 || (seals & wanted) != wanted ||
        (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) == 0)
        return REFUSE(why, -EPERM, "is not sealed: others than the pool may have written it");
    return 0;
}

/* ---- checking ---- */

static void take_name(char *out, size_t capacity, const char *from, size_t len)
{
    memset(out, 0, capacity);
    memcpy(out, from, strnlen(from, len < capacity - 1 ? len : capacity - 1));
    text_clean(out);
}

static int take_header(struct page_copy *copy, char why[PAGE_WHY])
{
    struct page_header *header = &copy->header;

    if (copy->size < sizeof(*header))
        return REFUSE(why, -EBADMSG, "is truncated: %zu bytes hold no header", copy->size);
    memcpy(header, copy->bytes, sizeof(*header));
    if (memcmp(header->magic, PAGE_MAGIC, PAGE_MAGIC_BYTES) != 0)
        return REFUSE(why, -EBADMSG, "does not begin as a stats page does");
    if (header->layout != PAGE_LAYOUT)
        return REFUSE(why, -EPROTO,
                      "has layout %u, and this poolstat knows %d: use the poolstat of its library",
                      header->layout, PAGE_LAYOUT);
    if (header->page_bytes != copy->size)
        return REFUSE(why, -EBADMSG, "is truncated or corrupted: %zu bytes, not the %llu it has",
                      copy->size, (unsigned long long)header->page_bytes);
    if (header->header_bytes < sizeof(*header) || header->header_bytes > copy->size)
        return REFUSE(why, -EBADMSG, "is corrupted: a header of %u bytes", header->header_bytes);
    take_name(header->library, sizeof(header->library),
              (const char *)copy->bytes + offsetof(struct page_header, library),
              sizeof(header->library));
    take_name(header->name, sizeof(header->name),
              (const char *)copy->bytes + offsetof(struct page_header, name), sizeof(header->name));
    return 0;
}

/* Whether `count` rows lie in the page, whatever the numbers are. */
static bool rows_fit(const struct page_copy *copy, uint64_t offset, uint32_t count,
                     uint32_t row_bytes)
{
    uint64_t bytes = (uint64_t)count * row_bytes;

    return offset <= copy->size && bytes <= copy->size - offset && offset % 8 == 0 &&
           row_bytes % 8 == 0;
}

static int take_sections(struct page_copy *copy, char why[PAGE_WHY])
{
    const struct page_header *header = &copy->header;

    if (header->sections == 0 || header->sections > SECTIONS_MAX ||
        header->section_bytes < sizeof(struct page_section) ||
        !rows_fit(copy, header->sections_offset, header->sections, header->section_bytes))
        return REFUSE(why, -EBADMSG, "is corrupted: its list of sections");
    copy->sections = calloc(header->sections, sizeof(*copy->sections));
    if (copy->sections == NULL)
        return REFUSE(why, -ENOMEM, "cannot be read: no memory");
    copy->section_count = header->sections;
    for (uint32_t i = 0; i < header->sections; i++) {
        struct copied_section *section = &copy->sections[i];
        struct page_section raw;

        memcpy(&raw, copy->bytes + header->sections_offset + (uint64_t)i * header->section_bytes,
               sizeof(raw));
        take_name(section->name, sizeof(section->name), raw.name, sizeof(raw.name));
        section->offset = raw.offset;
        section->rows = raw.rows;
        section->row_bytes = raw.row_bytes;
        section->first_field = raw.first_field;
        section->fields = raw.fields;
        if (raw.row_bytes == 0 || !rows_fit(copy, raw.offset, raw.rows, raw.row_bytes))
            return REFUSE(why, -EBADMSG, "is corrupted: its section '%s'", section->name);
    }
    return 0;
}

static int take_fields(struct page_copy *copy, char why[PAGE_WHY])
{
    const struct copied_section *section = page_section(copy, "fields");

    if (section == NULL || section->row_bytes < sizeof(struct page_field) ||
        section->rows > FIELDS_MAX)
        return REFUSE(why, -EBADMSG, "is corrupted: its list of fields");
    copy->fields = calloc(section->rows + 1U, sizeof(*copy->fields));
    if (copy->fields == NULL)
        return REFUSE(why, -ENOMEM, "cannot be read: no memory");
    copy->field_count = section->rows;
    for (uint32_t i = 0; i < section->rows; i++) {
        struct copied_field *field = &copy->fields[i];
        struct page_field raw;

        memcpy(&raw, copy->bytes + section->offset + (uint64_t)i * section->row_bytes, sizeof(raw));
        take_name(field->name, sizeof(field->name), raw.name, sizeof(raw.name));
        field->offset = raw.offset;
        field->bytes = raw.bytes;
        field->kind = raw.kind;
    }
    return 0;
}

/* A field that is no text holds one number, a histogram several. */
static bool field_fits(const struct copied_field *field, const struct copied_section *section)
{
    uint64_t end = (uint64_t)field->offset + field->bytes;

    if (field->bytes == 0 || end > section->row_bytes)
        return false;
    if (field->kind == PAGE_TEXT)
        return true;
    return field->offset % 8 == 0 && field->bytes % 8 == 0 &&
           (field->kind != PAGE_HISTOGRAM || field->bytes >= 24);
}

static int check_fields(const struct page_copy *copy, char why[PAGE_WHY])
{
    for (uint32_t i = 0; i < copy->section_count; i++) {
        const struct copied_section *section = &copy->sections[i];

        if ((uint64_t)section->first_field + section->fields > copy->field_count)
            return REFUSE(why, -EBADMSG, "is corrupted: the fields of '%s'", section->name);
        for (uint32_t j = 0; j < section->fields; j++) {
            const struct copied_field *field = &copy->fields[section->first_field + j];

            if (!field_fits(field, section))
                return REFUSE(why, -EBADMSG, "is corrupted: field '%s' of '%s'", field->name,
                              section->name);
        }
    }
    return 0;
}

static int parse(struct page_copy *copy, char why[PAGE_WHY])
{
    int err = take_header(copy, why);

    if (!err)
        err = take_sections(copy, why);
    if (!err)
        err = take_fields(copy, why);
    if (!err)
        err = check_fields(copy, why);
    return err;
}

/* ---- open ---- */

int page_copy_parse(const void *bytes, size_t size, struct page_copy *out, char why[PAGE_WHY])
{
    int err;

    *out = (struct page_copy){
        .bytes = malloc(size + 1), .size = size, .taken_ns = now_ns(), .texts_sequence = 1};
    if (out->bytes == NULL)
        return REFUSE(why, -ENOMEM, "cannot be read: no memory");
    memcpy(out->bytes, bytes, size);
    err = parse(out, why);
    if (err)
        page_copy_close(out);
    return err;
}

int page_copy_open(int fd, struct page_copy *out, char why[PAGE_WHY])
{
    struct stat st;
    int err;

    *out = (struct page_copy){.texts_sequence = 1};
    if (fstat(fd, &st) != 0)
        return REFUSE(why, -errno, "cannot be looked at: %s", strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > PAGE_MAX_BYTES)
        return REFUSE(why, -EBADMSG, "is no file that a pool makes");
    err = check_ready(fd, why);
    if (!err)
        err = check_seals(fd, why);
    if (err)
        return err;
    out->size = (size_t)st.st_size;
    out->bytes = malloc(out->size + 1);
    if (out->bytes == NULL)
        return REFUSE(why, -ENOMEM, "cannot be read: no memory");
    err = read_range(fd, out->bytes, 0, out->size, why);
    if (!err)
        err = parse(out, why);
    if (!err)
        err = page_copy_refresh(fd, out, true, why);
    if (err)
        page_copy_close(out);
    return err;
}

void page_copy_close(struct page_copy *copy)
{
    free(copy->bytes);
    free(copy->sections);
    free(copy->fields);
    *copy = (struct page_copy){0};
}

/* ---- what changes ---- */

static uint64_t number_at(const struct page_copy *copy, uint64_t offset)
{
    uint64_t value;

    memcpy(&value, copy->bytes + offset, sizeof(value));
    return value;
}

static uint64_t place_of(const struct copied_section *section, uint32_t row,
                         const struct copied_field *field)
{
    return section->offset + (uint64_t)row * section->row_bytes + field->offset;
}

static int read_section(int fd, struct page_copy *copy, const char *name, char why[PAGE_WHY])
{
    const struct copied_section *section = page_section(copy, name);

    if (section == NULL)
        return 0;
    return read_range(fd, copy->bytes + section->offset, section->offset,
                      (size_t)section->rows * section->row_bytes, why);
}

/* `state` and `sequence`, which lie where they are in every layout. */
static int read_header(int fd, struct page_copy *copy, char why[PAGE_WHY])
{
    struct page_header now;
    int err = read_range(fd, (unsigned char *)&now, 0, sizeof(now), why);

    copy->header.state = err ? copy->header.state : now.state;
    copy->header.sequence = err ? copy->header.sequence : now.sequence;
    return err;
}

static int read_texts(int fd, struct page_copy *copy, char why[PAGE_WHY])
{
    static const struct timespec pause = {.tv_nsec = TRY_PAUSE_NS};
    int err = read_header(fd, copy, why);

    if (err || copy->header.sequence == copy->texts_sequence)
        return err;
    copy->torn = true;
    for (unsigned i = 0; i < TRIES_MAX && copy->torn; i++) {
        uint64_t before;

        err = read_header(fd, copy, why);
        before = copy->header.sequence;
        if (!err)
            err = read_section(fd, copy, "texts", why);
        if (!err)
            err = read_section(fd, copy, "settings", why);
        if (!err)
            err = read_section(fd, copy, "control", why);
        if (!err)
            err = read_section(fd, copy, "answers", why);
        if (!err)
            err = read_header(fd, copy, why);
        if (err)
            return err;
        copy->torn = before % 2 != 0 || before != copy->header.sequence;
        if (copy->torn)
            nanosleep(&pause, NULL);
    }
    copy->texts_sequence = copy->torn ? 1 : copy->header.sequence;
    return 0; /* torn, if its owner is stopped there: still better than nothing */
}

/* Of a decision, what was read first is right if it has the same number still. */
static int read_decisions(int fd, struct page_copy *copy, char why[PAGE_WHY])
{
    const struct copied_section *section = page_section(copy, "decisions");
    const struct copied_field *number = page_field(copy, section, "number");
    int err = read_section(fd, copy, "decisions", why);
    size_t bytes = number != NULL ? (size_t)section->rows * section->row_bytes : 0;
    unsigned char *before;

    if (err || bytes == 0 || number->kind == PAGE_TEXT)
        return err;
    before = malloc(bytes);
    if (before == NULL)
        return REFUSE(why, -ENOMEM, "cannot be read: no memory");
    memcpy(before, copy->bytes + section->offset, bytes);
    err = read_section(fd, copy, "decisions", why);
    for (uint32_t row = 0; row < section->rows && !err; row++) {
        uint64_t place = place_of(section, row, number);

        if (memcmp(copy->bytes + place, before + (place - section->offset), sizeof(uint64_t)) != 0)
            memset(before + (place - section->offset), 0, sizeof(uint64_t));
    }
    memcpy(copy->bytes + section->offset, before, bytes);
    free(before);
    return err;
}

int page_copy_refresh(int fd, struct page_copy *copy, bool queues, char why[PAGE_WHY])
{
    static const char *const names[] = {"stats", "histograms", "requests", "dirs", "nodes"};
    int err = 0;

    copy->taken_ns = now_ns();
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]) && !err; i++)
        err = read_section(fd, copy, names[i], why);
    if (queues && !err)
        err = read_section(fd, copy, "queues", why);
    if (!err)
        err = read_decisions(fd, copy, why);
    return err ? err : read_texts(fd, copy, why);
}

/* ---- looking ---- */

const struct copied_section *page_section(const struct page_copy *copy, const char *name)
{
    for (uint32_t i = 0; i < copy->section_count; i++) {
        if (strcmp(copy->sections[i].name, name) == 0)
            return &copy->sections[i];
    }
    return NULL;
}

const struct copied_field *page_field(const struct page_copy *copy,
                                      const struct copied_section *section, const char *name)
{
    if (section == NULL)
        return NULL;
    for (uint32_t i = 0; i < section->fields; i++) {
        const struct copied_field *field = &copy->fields[section->first_field + i];

        if (strcmp(field->name, name) == 0)
            return field;
    }
    return NULL;
}

uint64_t page_number(const struct page_copy *copy, const struct copied_section *section,
                     uint32_t row, const struct copied_field *field)
{
    uint64_t value;

    if (section == NULL || field == NULL || row >= section->rows || field->kind == PAGE_TEXT)
        return 0;
    value = number_at(copy, place_of(section, row, field));
    return field->kind == PAGE_SUM && value > INT64_MAX ? 0 : value;
}

uint32_t page_histogram_numbers(const struct copied_field *field)
{
    return field->bytes / 8;
}

uint64_t page_histogram_number(const struct page_copy *copy, const struct copied_section *section,
                               const struct copied_field *field, uint32_t index)
{
    return number_at(copy, place_of(section, 0, field) + (uint64_t)index * 8);
}

const char *page_text(const struct page_copy *copy, const struct copied_section *section,
                      uint32_t row, const struct copied_field *field, char *out, size_t capacity)
{
    out[0] = '\0';
    if (section != NULL && field != NULL && row < section->rows && field->kind == PAGE_TEXT)
        take_name(out, capacity, (const char *)copy->bytes + place_of(section, row, field),
                  field->bytes);
    return out;
}
