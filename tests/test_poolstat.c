/* SPDX-License-Identifier: MIT */
/*
 * How poolstat reads pages: truncated, corrupted, not sealed, of other versions; and what it makes
 * of columns and checks.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../pool/page.h"
#include "../tools/poolstat/check.h"
#include "harness.h"
#include "queue_tools.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/* ---- a page of our own ---- */

struct made {
    unsigned char *bytes;
    size_t size;
};

/* What this version writes, with the row `i` of the stats table at 1000 + i. */
static struct made page_made(void)
{
    size_t size = PAGE_QUEUES_OFFSET + QUEUE_ROWS * sizeof(struct queue_row);
    struct page *page = calloc(1, size);
    struct made made = {(unsigned char *)page, size};
    uint64_t value = 1000;
    cr_assert_not_null(page);
    memcpy(page->header.magic, PAGE_MAGIC, PAGE_MAGIC_BYTES);
    page->header.layout = PAGE_LAYOUT;
    page->header.header_bytes = sizeof(page->header);
    page->header.page_bytes = size;
    page->header.sections_offset = offsetof(struct page, sections);
    page->header.sections = PAGE_SECTIONS;
    page->header.section_bytes = sizeof(struct page_section);
    page->header.state = PAGE_OPEN;
    page->header.id = 77;
    snprintf(page->header.name, sizeof(page->header.name), "made");
    snprintf(page->texts.engine, sizeof(page->texts.engine), "threads");
#define SET_ROW(name, kind, help) page->counters.name = value++;
    SPILLWAY_STATS_TABLE(SET_ROW)
#undef SET_ROW
    page_describe(page);
    return made;
}

static struct page *page_of(const struct made *made)
{
    return (struct page *)(void *)made->bytes;
}

/* So many bytes of buffers, all warm. */
static void buffers_set(const struct made *made, uint64_t bytes)
{
    struct counters *counters = &page_of(made)->counters;
    counters->slab_bytes = counters->staging_bytes = counters->reading_bytes = 0;
    counters->loaded_bytes = counters->lent_bytes = counters->reserve_bytes = 0;
    counters->buffer_bytes = counters->warm_bytes = bytes;
}

static int parse(const struct made *made, struct page_copy *copy, char why[PAGE_WHY])
{
    return page_copy_parse(made->bytes, made->size, copy, why);
}

/* Looks at everything that there is. */
static uint64_t walk(const struct page_copy *copy)
{
    uint64_t sum = 0;
    char text[512];
    for (uint32_t i = 0; i < copy->section_count; i++) {
        const struct copied_section *section = &copy->sections[i];
        for (uint32_t j = 0; j < section->fields; j++) {
            const struct copied_field *field = &copy->fields[section->first_field + j];
            for (uint32_t row = 0; row < section->rows && row < 64; row++) {
                sum += page_number(copy, section, row, field);
                sum += (unsigned char)page_text(copy, section, row, field, text, sizeof(text))[0];
            }
            if (section->rows > 0 && field->kind == PAGE_HISTOGRAM)
                sum +=
                    page_histogram_number(copy, section, field, page_histogram_numbers(field) - 1);
        }
    }
    size_t count;
    struct queue_value *queues = value_queues(copy, &count);
    sum += count + value_stat_or_0(copy, "used_bytes") + value_stat_or_0(copy, "oldest_request_ns");
    free(queues);
    return sum;
}

Test(poolstat, a_page_is_understood)
{
    struct made made = page_made();
    struct page_copy copy;
    char why[PAGE_WHY], text[64];
    uint64_t value;
    page_of(&made)->counters.resident_foreign_bytes = UINT64_MAX - 5; /* below 0 for a moment */
    page_of(&made)->counters.entry_block_bytes = 40;
    buffers_set(&made, 2);
    page_of(&made)->counters.used_peak_bytes = 7;
    page_of(&made)->counters.runs = UINT64_MAX;
    cr_assert_eq(parse(&made, &copy, why), 0, "%s", why);
    cr_assert_str_eq(copy.header.name, "made");
    cr_assert(value_stat(&copy, "resident_foreign_bytes", &value));
    cr_assert_eq(value, 0);
    cr_assert_eq(value_stat_or_0(&copy, "used_bytes"), 42);
    cr_assert_eq(value_stat_or_0(&copy, "used_peak_bytes"), 42);
    cr_assert_eq(value_stat_or_0(&copy, "runs"), UINT64_MAX, "only sums are cut off at 0");
    cr_assert_eq(value_stat_or_0(&copy, "oldest_request_ns"), 0);
    cr_assert_not(value_stat(&copy, "no_such_row", &value));
    cr_assert_str_eq(value_text(&copy, "engine", text, sizeof(text)), "threads");
    cr_assert_str_eq(value_text(&copy, "no_such_text", text, sizeof(text)), "");
    page_copy_close(&copy);

    page_of(&made)->request_start_ns[3] = 500;
    page_of(&made)->request_start_ns[5] = 400;
    cr_assert_eq(parse(&made, &copy, why), 0);
    cr_assert_eq(value_stat_or_0(&copy, "oldest_request_ns"), copy.taken_ns - 400);
    copy.taken_ns = 300; /* the clock of another time namespace */
    cr_assert_eq(value_stat_or_0(&copy, "oldest_request_ns"), 1);
    page_copy_close(&copy);
    free(made.bytes);
}

/* Its owner may be stopped while a buffer goes from one use to another. */
Test(poolstat, sums_are_those_of_their_parts)
{
    struct made made = page_made();
    struct page_copy copy;
    char why[PAGE_WHY];
    buffers_set(&made, 3);
    page_of(&made)->counters.lent_bytes = 4;
    page_of(&made)->counters.resident_foreign_bytes = 10;
    page_of(&made)->counters.entry_block_bytes = 20;
    cr_assert_eq(parse(&made, &copy, why), 0, "%s", why);
    cr_assert_eq(value_stat_or_0(&copy, "buffer_bytes"), 7);
    cr_assert_eq(value_stat_or_0(&copy, "used_bytes"), 37);
    page_copy_close(&copy);
    /* A page of another version may lack one. */
    for (uint32_t i = 0; i < PAGE_FIELDS; i++)
        if (strcmp(page_of(&made)->fields[i].name, "lent_bytes") == 0)
            page_of(&made)->fields[i].name[0] = 'x';
    cr_assert_eq(parse(&made, &copy, why), 0, "%s", why);
    cr_assert_eq(value_stat_or_0(&copy, "buffer_bytes"), 3);
    cr_assert_eq(value_stat_or_0(&copy, "used_bytes"), 33);
    page_copy_close(&copy);
    free(made.bytes);
}

/* Names and texts come from another process. */
Test(poolstat, texts_are_cleaned)
{
    struct made made = page_made();
    struct page_copy copy;
    char why[PAGE_WHY], text[64];
    memset(page_of(&made)->header.name, 'x', sizeof(page_of(&made)->header.name));
    page_of(&made)->header.name[3] = '\033';
    memset(page_of(&made)->texts.engine, 'e', sizeof(page_of(&made)->texts.engine));
    page_of(&made)->texts.engine[1] = '\n';
    cr_assert_eq(parse(&made, &copy, why), 0);
    cr_assert_eq(strlen(copy.header.name), sizeof(copy.header.name) - 1);
    cr_assert_eq(copy.header.name[3], '?');
    cr_assert_str_eq(value_text(&copy, "engine", text, sizeof(text)), "e?eeeeeeeeeeeeee");
    cr_assert_str_eq(value_text(&copy, "engine", text, 5), "e?ee");
    page_copy_close(&copy);
    free(made.bytes);
}

/* ---- truncated, corrupted ---- */

Test(poolstat, a_truncated_page_is_refused)
{
    struct made made = page_made();
    struct page_copy copy;
    char why[PAGE_WHY];
    for (size_t size = 0; size < made.size; size += size < 512 ? 1 : 997) {
        why[0] = '\0';
        cr_assert_eq(page_copy_parse(made.bytes, size, &copy, why), -EBADMSG, "%zu", size);
        cr_assert_not_null(strstr(why, "truncated"), "%s", why);
    }
    free(made.bytes);
}

/* Each of these by itself, with a word of what is said. */
#define CORRUPT(change, expected, word)                                                            \
    do {                                                                                           \
        struct made made = page_made();                                                            \
        struct page *page = page_of(&made);                                                        \
        struct page_copy copy;                                                                     \
        char why[PAGE_WHY] = "";                                                                   \
        change;                                                                                    \
        cr_assert_eq(parse(&made, &copy, why), expected, "%s", #change);                           \
        cr_assert_not_null(strstr(why, word), "%s: %s", #change, why);                             \
        free(made.bytes);                                                                          \
    } while (0)

Test(poolstat, a_corrupted_page_is_refused)
{
    CORRUPT(page->header.magic[0] = 'x', -EBADMSG, "does not begin");
    CORRUPT(page->header.layout = 2, -EPROTO, "layout 2");
    CORRUPT(page->header.layout = 0, -EPROTO, "layout 0");
    CORRUPT(page->header.page_bytes--, -EBADMSG, "truncated or corrupted");
    CORRUPT(page->header.header_bytes = 8, -EBADMSG, "header");
    CORRUPT(page->header.header_bytes = UINT32_MAX, -EBADMSG, "header");
    CORRUPT(page->header.sections = 0, -EBADMSG, "sections");
    CORRUPT(page->header.sections = UINT32_MAX, -EBADMSG, "sections");
    CORRUPT(page->header.section_bytes = 8, -EBADMSG, "sections");
    CORRUPT(page->header.section_bytes = UINT32_MAX - 7, -EBADMSG, "sections");
    CORRUPT(page->header.sections_offset = UINT64_MAX - 7, -EBADMSG, "sections");
    CORRUPT(page->header.sections_offset = made.size - 8, -EBADMSG, "sections");
    CORRUPT(page->sections[0].offset = made.size, -EBADMSG, "'stats'");
    CORRUPT(page->sections[0].offset = UINT64_MAX - 7, -EBADMSG, "'stats'");
    CORRUPT(page->sections[0].offset++, -EBADMSG, "'stats'");
    CORRUPT(page->sections[0].row_bytes = 0, -EBADMSG, "'stats'");
    CORRUPT(page->sections[0].rows = UINT32_MAX, -EBADMSG, "'stats'");
    CORRUPT(page->sections[0].row_bytes = 16, -EBADMSG, "of 'stats'");
    CORRUPT(page->sections[0].fields = UINT32_MAX, -EBADMSG, "fields of 'stats'");
    CORRUPT(page->sections[8].rows = UINT32_MAX, -EBADMSG, "'queues'");
    CORRUPT(page->sections[PAGE_SECTIONS - 1].name[0] = 'x', -EBADMSG, "list of fields");
    CORRUPT(page->sections[PAGE_SECTIONS - 1].row_bytes = 56, -EBADMSG, "list of fields");
    CORRUPT(page->fields[0].offset = UINT32_MAX, -EBADMSG, "'budget_bytes'");
    CORRUPT(page->fields[0].offset = 4, -EBADMSG, "'budget_bytes'");
    CORRUPT(page->fields[0].bytes = 0, -EBADMSG, "'budget_bytes'");
    CORRUPT(page->fields[0].bytes = 12, -EBADMSG, "'budget_bytes'");
    CORRUPT(page->fields[0].bytes = UINT32_MAX, -EBADMSG, "'budget_bytes'");
    CORRUPT((page->fields[0].kind = PAGE_HISTOGRAM), -EBADMSG, "'budget_bytes'");
}

/* Whatever is in it: refused, or walked through from end to end. */
Test(poolstat, no_page_can_do_harm)
{
    struct random random = random_open("no_page_can_do_harm");
    struct made made = page_made();
    unsigned char *good = malloc(made.size);
    size_t described = sizeof(struct page); /* queues lie behind */
    uint64_t understood = 0;
    cr_assert_not_null(good);
    memcpy(good, made.bytes, made.size);
    for (uint64_t round = 0; round < test_scaled(3000); round++) {
        struct page_copy copy;
        char why[PAGE_WHY];
        for (unsigned n = 1 + (unsigned)random_below(&random, 8); n > 0; n--) {
            size_t lists = offsetof(struct page, sections);
            size_t at = random_percent(&random, 30) ? random_below(&random, 200)
                        : random_percent(&random, 80)
                            ? lists + random_below(&random, described - lists)
                            : random_below(&random, made.size);
            made.bytes[at] =
                random_percent(&random, 50) ? (unsigned char)random_next(&random) : 255;
        }
        if (parse(&made, &copy, why) == 0) {
            understood++;
            (void)walk(&copy);
            page_copy_close(&copy);
        }
        memcpy(made.bytes, good, made.size);
    }
    cr_assert_gt(understood, 0);
    free(good);
    free(made.bytes);
}

/* ---- files ---- */

static int memfd_of(const struct made *made, size_t size, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, made->bytes, size), (ssize_t)size);
    cr_assert_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

Test(poolstat, only_sealed_files_are_believed)
{
    static const struct {
        int seals, expected;
    } cases[] = {
        {0, -EPERM},
        {F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, -EPERM},
        {F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL, -EPERM},
        {F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL, -EPERM},
        {F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, -EPERM},
        {F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL, 0},
        {F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL, 0},
    };
    struct made made = page_made();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct page_copy copy;
        char why[PAGE_WHY] = "";
        int fd = memfd_of(&made, made.size, cases[i].seals);
        cr_assert_eq(page_copy_open(fd, &copy, why), cases[i].expected, "%zu: %s", i, why);
        if (cases[i].expected == 0)
            page_copy_close(&copy);
        else
            cr_assert_not_null(strstr(why, "not sealed"), "%s", why);
        close(fd);
    }
    free(made.bytes);
}

Test(poolstat, other_files_are_refused)
{
    struct made made = page_made();
    struct page_copy copy;
    char why[PAGE_WHY] = "";
    int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    int ends[2], fd = memfd_of(&made, 100, all);
    cr_assert_eq(page_copy_open(fd, &copy, why), -EBADMSG);
    close(fd);
    fd = memfd_of(&made, 0, all);
    cr_assert_eq(page_copy_open(fd, &copy, why), -EAGAIN, "empty: it is just being made");
    close(fd);
    fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert_eq(ftruncate(fd, 4096), 0);
    cr_assert_eq(page_copy_open(fd, &copy, why), -EAGAIN, "nothing in it yet");
    cr_assert_eq(ftruncate(fd, PAGE_MAX_BYTES + 4096), 0);
    cr_assert_eq(page_copy_open(fd, &copy, why), -EBADMSG, "too large");
    close(fd);
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(page_copy_open(ends[0], &copy, why), -EBADMSG);
    close(ends[0]);
    close(ends[1]);
    cr_assert_eq(page_copy_open(ends[0], &copy, why), -EBADF);
    free(made.bytes);
}

/* A file that got shorter between two looks: a seal forbids it, but nothing may rest on that. */
Test(poolstat, a_file_that_shrinks_is_an_error)
{
    struct made made = page_made();
    struct page_copy copy;
    char why[PAGE_WHY] = "";
    int fd = memfd_of(&made, made.size, 0);
    cr_assert_eq(parse(&made, &copy, why), 0);
    cr_assert_eq(page_copy_refresh(fd, &copy, true, why), 0, "%s", why);
    cr_assert_eq(ftruncate(fd, 1000), 0);
    cr_assert_eq(page_copy_refresh(fd, &copy, true, why), -EBADMSG);
    cr_assert_not_null(strstr(why, "truncated"));
    page_copy_close(&copy);
    close(fd);
    free(made.bytes);
}

/* ---- older and newer pages ---- */

enum { NEW_HEADER = 64, NEW_SECTION = 24, NEW_FIELD = 16, NEW_ROW = 128, GAP = 4096 };

static void put(struct made *made, size_t at, const void *from, size_t len)
{
    cr_assert_leq(at + len, made->size);
    memcpy(made->bytes + at, from, len);
}

/*
 * A page as a later version may write it: everything is larger and elsewhere, the fields of `stats`
 * come in another order, one of them is not known, and there are sections and kinds that are new.
 */
static struct made newer_page(const struct made *old)
{
    const struct page *page = page_of(old);
    struct made made = {.size = 4 * old->size};
    size_t at = GAP, fields_at = 2 * old->size, lists_at = fields_at - GAP;
    uint32_t count = PAGE_SECTIONS + 1, field_count = PAGE_FIELDS + 2;
    struct page_header header = page->header;
    made.bytes = calloc(1, made.size);
    cr_assert_not_null(made.bytes);
    header.header_bytes += NEW_HEADER;
    header.page_bytes = made.size;
    header.sections = count;
    header.section_bytes += NEW_SECTION;
    header.sections_offset = lists_at;
    put(&made, 0, &header, sizeof(header));
    for (uint32_t i = 0; i < PAGE_SECTIONS; i++) {
        struct page_section section = page->sections[i];
        for (uint32_t row = 0; strcmp(section.name, "fields") != 0 && row < section.rows; row++)
            put(&made, at + row * (section.row_bytes + NEW_ROW),
                old->bytes + section.offset + row * section.row_bytes, section.row_bytes);
        section.offset = at;
        section.row_bytes += NEW_ROW;
        section.first_field += i > 0 ? 2 : 0;
        section.fields += i == 0 ? 2 : 0;
        if (strcmp(section.name, "fields") == 0) {
            section.offset = fields_at;
            section.rows = field_count;
            section.row_bytes = sizeof(struct page_field) + NEW_FIELD;
        }
        put(&made, lists_at + (i + 1) * header.section_bytes, &section, sizeof(section));
        at += (size_t)section.rows * (page->sections[i].row_bytes + NEW_ROW);
    }
    struct page_section news = {.name = "news", .offset = GAP, .rows = 1, .row_bytes = 64};
    put(&made, lists_at, &news, sizeof(news));
    for (uint32_t i = 0; i < field_count; i++) {
        struct page_field field = {.name = "new_things_total",
                                   .offset = sizeof(struct counters),
                                   .bytes = 8,
                                   .kind = PAGE_COUNTER};
        struct page_field odd = {
            .name = "odd", .offset = sizeof(struct counters) + 8, .bytes = 32, .kind = 99};
        uint32_t stats = PAGE_STATS + 2;
        if (i > 0 && i < stats - 1) /* from the last to the first */
            field = page->fields[PAGE_STATS - i];
        else if (i == stats - 1)
            field = odd;
        else if (i >= stats)
            field = page->fields[i - 2];
        put(&made, fields_at + i * (sizeof(field) + NEW_FIELD), &field, sizeof(field));
    }
    uint64_t value = 4711;
    put(&made, GAP + sizeof(struct counters), &value, sizeof(value));
    return made;
}

#define SAME(name, kind, help)                                                                     \
    cr_assert(value_stat(&newer, #name, &there), #name);                                           \
    cr_assert(value_stat(&older, #name, &here), #name);                                            \
    cr_assert_eq(there, here, #name);

Test(poolstat, a_newer_page_is_read)
{
    struct made made = page_made(), later = newer_page(&made);
    struct page_copy older, newer;
    char why[PAGE_WHY] = "", text[64];
    uint64_t here, there;
    cr_assert_eq(parse(&made, &older, why), 0);
    cr_assert_eq(parse(&later, &newer, why), 0, "%s", why);
    SPILLWAY_STATS_TABLE(SAME)
    cr_assert(value_stat(&newer, "new_things_total", &there), "by its own name");
    cr_assert_eq(there, 4711);
    cr_assert_str_eq(value_text(&newer, "engine", text, sizeof(text)), "threads");
    (void)walk(&newer);
    page_copy_close(&older);
    page_copy_close(&newer);
    free(made.bytes);
    free(later.bytes);
}

/* As a former version wrote it: rows, fields and sections that came later are not there. */
Test(poolstat, an_older_page_is_read)
{
    struct made made = page_made();
    struct page *page = page_of(&made);
    struct pool pool = {.fd = -1};
    struct value value;
    struct column made_column;
    char why[PAGE_WHY] = "", made_name[PAGE_NAME_BYTES], text[VALUE_TEXT];
    struct pools pools = {.items = &pool, .count = 1};
    char last[PAGE_NAME_BYTES];
    snprintf(last, sizeof(last), "%s", page->fields[PAGE_STATS - 1].name);
    memcpy(page->sections[5].name, "gone", 5); /* nodes */
    memcpy(page->sections[8].name, "gone", 5); /* queues */
    memcpy(page->sections[3].name, "gone", 5); /* requests */
    memcpy(page->fields[PAGE_STATS - 1].name, "was_called_so", 14);
    page->sections[1].fields = 2; /* histograms */
    cr_assert_eq(parse(&made, &pool.now, why), 0, "%s", why);
    uint64_t number;
    cr_assert(value_stat(&pool.now, "budget_bytes", &number));
    cr_assert_eq(number, 1000);
    cr_assert_not(value_stat(&pool.now, last, &number));
    cr_assert(value_stat(&pool.now, "was_called_so", &number));
    size_t count;
    cr_assert_null(value_queues(&pool.now, &count));
    cr_assert_eq(count, 0);
    (void)walk(&pool.now);
    const struct column *column = column_find(last, &pools, &made_column, made_name);
    cr_assert_not_null(column, "this version knows the row");
    column_value(column, &pool, &value);
    cr_assert_not(value.known);
    cr_assert_str_eq(column_text(column, &value, false, text), "-");
    cr_assert_not_null(column_find("was_called_so", &pools, &made_column, made_name));
    cr_assert_null(column_find("nothing", &pools, &made_column, made_name));
    page_copy_close(&pool.now);
    free(made.bytes);
}

/* ---- columns ---- */

static struct pool pool_made(struct made *made)
{
    struct pool pool = {.fd = -1, .process = {.pid = 17, .state = 'S', .comm = "server"}};
    char why[PAGE_WHY];
    *made = page_made();
    page_of(made)->counters.resident_foreign_bytes = 60;
    page_of(made)->counters.entry_block_bytes = 20;
    buffers_set(made, 10);
    page_of(made)->counters.budget_bytes = 100;
    page_of(made)->counters.memory_tier_capacity_bytes = 0;
    page_of(made)->counters.memory_tier_stored_bytes = 0;
    page_of(made)->counters.spilled_bytes_total = 5000;
    page_of(made)->header.opened_ns = 1;
    cr_assert_eq(parse(made, &pool.now, why), 0, "%s", why);
    pool.now.taken_ns = 2000000001; /* 2 s after it was opened */
    return pool;
}

static struct value value_of(const struct pool *pool, const char *name,
                             const struct column **column)
{
    static struct column made;
    static char made_name[PAGE_NAME_BYTES];
    struct pool copy = *pool;
    struct pools pools = {.items = &copy, .count = 1};
    struct value value;
    *column = column_find(name, &pools, &made, made_name);
    cr_assert_not_null(*column, "%s", name);
    column_value(*column, pool, &value);
    return value;
}

Test(poolstat, columns)
{
    static const struct {
        const char *name, *shown, *exact;
    } expected[] = {
        {"pid", "17", "17"},
        {"pool", "made", "made"},
        {"process", "server", "server"},
        {"state", "running", "running"},
        {"up", "2.0s", "2000000000"},
        {"resident", "90B", "90"},
        {"use", "90.0", "90.0"},
        {"budget", "100B", "100"},
        {"spill", "2.44K", "2500"},
        {"spilled_bytes_total", "4.88K", "5000"},
        {"engine", "threads", "threads"},
        {"fallbacks", "-", "-"},
        {"read_p99", "-", "-"},
    };
    struct made made;
    struct pool pool = pool_made(&made);
    const struct column *column;
    char text[VALUE_TEXT];
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        struct value value = value_of(&pool, expected[i].name, &column);
        cr_assert_str_eq(column_text(column, &value, false, text), expected[i].shown, "%s: %s",
                         expected[i].name, text);
        cr_assert_str_eq(column_text(column, &value, true, text), expected[i].exact, "%s: %s",
                         expected[i].name, text);
    }
    page_copy_close(&pool.now);
    free(made.bytes);
}

/* Each column has a row in this library's tables, a name of its own and a help of its own. */
Test(poolstat, columns_rest_on_rows)
{
    struct made made;
    struct pool pool = pool_made(&made);
    uint64_t number;
    spw_histogram histogram;
    for (const struct column *column = columns_table; column->name; column++) {
        for (const struct column *other = columns_table; other < column; other++)
            cr_assert_neq(strcmp(other->name, column->name), 0, "%s twice", column->name);
        cr_assert_gt(strlen(column->help), 5);
        if (column->source == FROM_P99)
            cr_assert(value_histogram(&pool.now, NULL, column->stat, &histogram, NULL), "%s",
                      column->name);
        else if (column->source != FROM_ELSEWHERE)
            cr_assert(value_stat(&pool.now, column->stat, &number), "%s", column->name);
        if (column->whole)
            cr_assert(value_stat(&pool.now, column->whole, &number), "%s", column->name);
        if (column->source == FROM_ELSEWHERE)
            cr_assert(value_of(&pool, column->name, &(const struct column *){0}).known, "%s",
                      column->name);
    }
    page_copy_close(&pool.now);
    free(made.bytes);
}

Test(poolstat, rates_are_of_the_time_between_two_looks)
{
    struct made made;
    struct pool pool = pool_made(&made);
    const struct column *column;
    char why[PAGE_WHY];
    page_of(&made)->counters.spilled_bytes_total = 9000;
    page_of(&made)->counters.writer_wait_ns_total += 500000000;
    page_of(&made)->histograms.device_read_ns.counts[40] = 10;
    page_of(&made)->histograms.device_read_ns.highest = 1100;
    pool.before = pool.now;
    cr_assert_eq(parse(&made, &pool.now, why), 0);
    pool.now.taken_ns = pool.before.taken_ns + 1000000000;
    cr_assert_eq(value_of(&pool, "spill", &column).count, 4000);
    cr_assert_eq(value_of(&pool, "wwait", &column).count, 50);
    cr_assert_eq(value_of(&pool, "read_p99", &column).count, spw_histogram_bound(40));
    cr_assert_not(value_of(&pool, "write_p99", &column).known);
    page_copy_close(&pool.before);
    page_copy_close(&pool.now);
    free(made.bytes);
}

Test(poolstat, lists_of_columns)
{
    struct pools none = {0};
    struct columns columns = {.count = 0};
    char bad[PAGE_NAME_BYTES];
    cr_assert_eq(columns_parse("pid,used_peak_bytes,use", &none, &columns, bad), 0);
    cr_assert_eq(columns.count, 3);
    cr_assert_str_eq(columns.items[1]->name, "used_peak_bytes");
    columns.count = 0;
    cr_assert_eq(columns_parse(columns_default, &none, &columns, bad), 0);
    columns.count = 0;
    cr_assert_eq(columns_parse("pid,,use", &none, &columns, bad), -EINVAL);
    cr_assert_str_eq(bad, "");
    columns.count = 0;
    cr_assert_eq(columns_parse("pid,nonsense", &none, &columns, bad), -EINVAL);
    cr_assert_str_eq(bad, "nonsense");
    char many[COLUMNS_MAX * 5];
    for (size_t i = 0; i <= COLUMNS_MAX; i++)
        memcpy(many + i * 4, "pid,", 4);
    many[(COLUMNS_MAX + 1) * 4 - 1] = '\0';
    columns.count = 0;
    cr_assert_eq(columns_parse(many, &none, &columns, bad), -EINVAL);
}

/* ---- checks ---- */

Test(poolstat, checks_are_parsed)
{
    static const struct {
        const char *text, *name;
        enum check_operator operator;
        double limit;
        bool percent;
    } good[] = {
        {"resident<90%", "resident", CHECK_BELOW, 90, true},
        {"disk<=10GiB", "disk", CHECK_AT_MOST, 10.0 * (1 << 30), false},
        {" lost == 0 ", "lost", CHECK_EQUAL, 0, false},
        {"lost=0", "lost", CHECK_EQUAL, 0, false},
        {"read_p99<20ms", "read_p99", CHECK_BELOW, 20e6, false},
        {"queues>=1", "queues", CHECK_AT_LEAST, 1, false},
        {"queues>1", "queues", CHECK_ABOVE, 1, false},
        {"runs!=3", "runs", CHECK_OTHER, 3, false},
        {"use<90.5", "use", CHECK_BELOW, 90.5, false},
    };
    static const char *const bad[] = {
        "",
        "resident",
        "resident<",
        "resident<x",
        "resident~5",
        "<5",
        "resident<5%%",
        "resident<5 miles",
        "resident<-5",
        "resident<nan",
        "a<inf",
        "a!5",
        "a<1e999",
        "a<0x10",
        "a<5%x",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa<5",
    };
    struct check check;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_assert_eq(check_parse(good[i].text, &check), 0, "%s", good[i].text);
        cr_assert_str_eq(check.name, good[i].name);
        cr_assert_eq(check.operator, good[i].operator);
        cr_assert_eq((uint64_t)(check.limit * 1000), (uint64_t)(good[i].limit * 1000), "%s",
                     good[i].text);
        cr_assert_eq(check.percent, good[i].percent);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert(check_parse(bad[i], &check) == -EINVAL || check.name[0] == '\0', "%s", bad[i]);
}

static enum check_result judge(const struct pool *pool, const char *text)
{
    const struct column *column;
    struct check check;
    cr_assert_eq(check_parse(text, &check), 0, "%s", text);
    struct value value = value_of(pool, check.name, &column);
    return check_judge(&check, column, &value);
}

Test(poolstat, checks_are_judged)
{
    struct made made;
    struct pool pool = pool_made(&made);
    cr_assert_eq(judge(&pool, "resident<91%"), CHECK_HOLDS);
    cr_assert_eq(judge(&pool, "resident<90%"), CHECK_FAILS);
    cr_assert_eq(judge(&pool, "resident<=90%"), CHECK_HOLDS);
    cr_assert_eq(judge(&pool, "resident<90"), CHECK_FAILS);
    cr_assert_eq(judge(&pool, "resident==90"), CHECK_HOLDS);
    cr_assert_eq(judge(&pool, "use<=90"), CHECK_HOLDS);
    cr_assert_eq(judge(&pool, "use>90%"), CHECK_FAILS);
    cr_assert_eq(judge(&pool, "up>1s"), CHECK_HOLDS);
    cr_assert_eq(judge(&pool, "up<2s"), CHECK_FAILS);
    cr_assert_eq(judge(&pool, "spill!=2500"), CHECK_FAILS);
    cr_assert_eq(judge(&pool, "spill>=2KiB"), CHECK_HOLDS);
    cr_assert_eq(judge(&pool, "memory<90%"), CHECK_HOLDS, "there is no such tier");
    cr_assert_eq(judge(&pool, "queues<90%"), CHECK_NOT_KNOWN, "of what?");
    cr_assert_eq(judge(&pool, "pool==1"), CHECK_NOT_KNOWN);
    cr_assert_eq(judge(&pool, "read_p99<1s"), CHECK_HOLDS, "nothing was read");
    page_copy_close(&pool.now);
    free(made.bytes);
}
