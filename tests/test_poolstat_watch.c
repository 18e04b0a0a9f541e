/* SPDX-License-Identifier: MIT */
/* What poolstat --watch draws: nothing wider or higher than the screen, whatever is shown. */
#define _GNU_SOURCE 1

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "../pool/page.h"
#include "../tools/poolstat/watch_view.h"
#include "harness.h"

enum { POOLS = 12, LINES_MAX = 200, LINE_BYTES = 2048 };

/* ---- a screen ---- */

struct seen {
    char lines[LINES_MAX][LINE_BYTES]; /* without colours */
    unsigned widths[LINES_MAX];
    unsigned count, colours;
};

static void line_end(struct seen *seen)
{
    const char *at = seen->lines[seen->count];
    unsigned width = 0;
    mbstate_t state = {0};
    wchar_t wide;
    while (*at != '\0') {
        size_t len = mbrtowc(&wide, at, strlen(at), &state);
        cr_assert(len > 0 && len <= 4, "bad UTF-8 on the screen");
        cr_assert_geq(wcwidth(wide), 0, "a control character on the screen");
        width += (unsigned)wcwidth(wide);
        at += len;
    }
    seen->widths[seen->count++] = width;
    cr_assert_lt(seen->count, (unsigned)LINES_MAX);
}

/* Takes a canvas apart as a terminal would. */
static void look_at(const struct canvas *canvas, struct seen *seen)
{
    const char *at = canvas->bytes, *end = at ? at + canvas->used : at;
    size_t used = 0;
    memset(seen, 0, sizeof(*seen));
    while (at < end) {
        if (*at == '\033') {
            cr_assert_eq(at[1], '[');
            for (at += 2; *at >= '0' && *at <= ';'; at++)
                ;
            cr_assert(*at == 'K' || *at == 'm', "an escape sequence that was not expected");
            seen->colours += *at++ == 'm';
        } else if (*at == '\r') {
            cr_assert_eq(at[1], '\n');
            at += 2;
            line_end(seen);
            used = 0;
        } else {
            cr_assert_lt(used + 1, (size_t)LINE_BYTES);
            seen->lines[seen->count][used++] = *at++;
        }
    }
    line_end(seen);
}

static bool utf8_here(void)
{
    return setlocale(LC_CTYPE, "C.UTF-8") != NULL || setlocale(LC_CTYPE, "en_US.UTF-8") != NULL;
}

/* ---- pools ---- */

static struct page *page_made(size_t *size)
{
    *size = PAGE_QUEUES_OFFSET + QUEUE_ROWS * sizeof(struct queue_row);
    struct page *page = calloc(1, *size);
    cr_assert_not_null(page);
    memcpy(page->header.magic, PAGE_MAGIC, PAGE_MAGIC_BYTES);
    page->header.layout = PAGE_LAYOUT;
    page->header.header_bytes = sizeof(page->header);
    page->header.page_bytes = *size;
    page->header.sections_offset = offsetof(struct page, sections);
    page->header.sections = PAGE_SECTIONS;
    page->header.section_bytes = sizeof(struct page_section);
    page->header.state = PAGE_OPEN;
    page->header.opened_ns = 1;
    page_describe(page);
    return page;
}

/* Pools of all kinds: with odd names, huge numbers, full tiers, and nothing at all. */
static void pools_made(struct pools *pools, struct pool items[POOLS])
{
    static const char wide[] = "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c"
                               "\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e";
    static const char *const names[] = {"plain",
                                        "a name that is far too long for its column, and then some",
                                        wide,
                                        "bad\xff\xfe\x80 bytes",
                                        "esc\033[31mape",
                                        ""};
    char why[PAGE_WHY];
    for (unsigned i = 0; i < POOLS; i++) {
        size_t size;
        struct page *page = page_made(&size);
        snprintf(page->header.name, sizeof(page->header.name), "%s", names[i % 6]);
        page->counters.budget_bytes = i % 3 ? 100 : 0;
        page->counters.slab_bytes = i % 5 ? 30 * i : INT64_MAX;
        page->counters.disk_limit_bytes = UINT64_MAX;
        page->counters.disk_stored_bytes = i % 2 ? UINT64_MAX : 5;
        page->counters.memory_tier_capacity_bytes = i % 4;
        page->counters.memory_tier_stored_bytes = 2;
        page->counters.spilled_bytes_total = i % 2 ? UINT64_MAX : 12345678;
        page->counters.writer_wait_ns_total = UINT64_MAX / (i + 1);
        page->counters.queues = i;
        snprintf(page->texts.engine, sizeof(page->texts.engine), "threads");
        memset(page->texts.fallbacks, 'f', sizeof(page->texts.fallbacks));
        struct queue_row *rows = (struct queue_row *)((char *)page + PAGE_QUEUES_OFFSET);
        for (unsigned q = 0; q < i; q++) {
            rows[q].state = QUEUE_ROW_USED;
            memset(rows[q].name, 'q', sizeof(rows[q].name));
            rows[q].sums.resident_bytes = UINT64_MAX / 2;
        }
        if (i % 2) {
            page->decisions[0].number = 1;
            memset(page->decisions[0].reason, 'r', sizeof(page->decisions[0].reason));
        }
        items[i] = (struct pool){.fd = -1,
                                 .ino = i + 1,
                                 .gone = i == 7,
                                 .process = {.pid = 4194304 - (pid_t)i, .state = "RSDTtZX"[i % 7]}};
        snprintf(items[i].process.comm, sizeof(items[i].process.comm), "server-%u", i);
        cr_assert_eq(page_copy_parse(page, size, &items[i].now, why), 0, "%s", why);
        items[i].now.taken_ns = 2000000001;
        free(page);
    }
    *pools = (struct pools){.items = items, .count = POOLS};
}

static void pools_unmade(struct pools *pools)
{
    for (size_t i = 0; i < POOLS; i++)
        page_copy_close(&pools->items[i].now);
}

static struct columns usual_columns(const struct pools *pools)
{
    struct columns columns = {.count = 0};
    char bad[PAGE_NAME_BYTES];
    cr_assert_eq(columns_parse(watch_columns, pools, &columns, bad), 0, "%s", bad);
    return columns;
}

/* ---- tests ---- */

Test(poolstat_watch, fits_every_screen)
{
    static struct pool items[POOLS];
    static struct seen seen;
    struct pools pools;
    struct histories histories = {0};
    if (!utf8_here())
        test_skip("no UTF-8 locale");
    pools_made(&pools, items);
    for (unsigned i = 0; i < 600; i++)
        histories_add(&histories, &pools);
    struct columns columns = usual_columns(&pools);
    struct canvas canvas = {.utf8 = true, .colour = true};
    struct watch_look look = {.pools = &pools,
                              .histories = &histories,
                              .columns = &columns,
                              .clock = "12:34:56",
                              .pressure = "pressure of the last 10 s: memory some 13.1% full 8.7%",
                              .unseen = "Not readable: 123 processes of other users.",
                              .interval_ns = 1000000000};
    for (unsigned rows = 1; rows < 70; rows += rows < 30 ? 1 : 13) {
        for (unsigned width = 1; width < 260; width += width < 90 ? 1 : 37) {
            canvas.utf8 = (rows + width) % 3 != 0;
            canvas.colour = (rows + width) % 2 == 0;
            pools.count = (rows * 7 + width) % (POOLS + 1);
            look.selected = pools.count > 0 ? width % pools.count : 0;
            look.exact = width % 5 == 0;
            canvas_begin(&canvas, width, rows);
            watch_draw(&canvas, &look);
            cr_assert_not(canvas.broken);
            look_at(&canvas, &seen);
            cr_assert_eq(seen.count, rows, "%u lines on %u", seen.count, rows);
            for (unsigned i = 0; i < seen.count; i++)
                cr_assert_leq(seen.widths[i], width, "%ux%u, line %u: '%s'", width, rows, i,
                              seen.lines[i]);
            cr_assert(canvas.colour || seen.colours == 0);
        }
    }
    pools.count = POOLS;
    canvas_free(&canvas);
    histories_close(&histories);
    pools_unmade(&pools);
}

/* What belongs below each other is. */
Test(poolstat_watch, lines_up)
{
    static struct pool items[POOLS];
    static struct seen seen;
    struct pools pools;
    struct histories histories = {0};
    unsigned bars = 0, edge = 0;
    pools_made(&pools, items);
    histories_add(&histories, &pools);
    struct columns columns = usual_columns(&pools);
    struct canvas canvas = {.utf8 = false};
    struct watch_look look = {.pools = &pools,
                              .histories = &histories,
                              .columns = &columns,
                              .clock = "12:34:56",
                              .pressure = "",
                              .unseen = "",
                              .interval_ns = 250000000};
    pools.count = 3;
    canvas_begin(&canvas, 80, 24);
    watch_draw(&canvas, &look);
    look_at(&canvas, &seen);
    cr_assert_eq(strncmp(seen.lines[0], "poolstat  3 pools, every 0.25 s", 31), 0);
    cr_assert_not_null(strstr(seen.lines[3], "PID POOL"));
    cr_assert_not_null(strstr(seen.lines[4], "4194304 plain"));
    for (unsigned i = 8; i < seen.count; i++) {
        const char *open = strchr(seen.lines[i], '['), *shut = strchr(seen.lines[i], ']');
        if (open == NULL || open - seen.lines[i] != 9)
            continue;
        bars++;
        cr_assert_not_null(shut);
        cr_assert(edge == 0 || edge == (unsigned)(shut - seen.lines[i]));
        edge = (unsigned)(shut - seen.lines[i]);
    }
    cr_assert_eq(bars, 3, "resident, memory, disk");
    cr_assert_eq(strncmp(seen.lines[23], "q quit", 6), 0);
    pools.count = POOLS;
    canvas_free(&canvas);
    histories_close(&histories);
    pools_unmade(&pools);
}

Test(poolstat_watch, bars)
{
    static const struct {
        double share;
        const char *bar;
    } expected[] = {{0, "[....]"},   {-1, "[....]"}, {0.25, "[#...]"}, {0.5, "[##..]"},
                    {0.6, "[##..]"}, {1, "[####]"},  {7, "[####]"},    {0.01, "[....]"}};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        struct canvas canvas = {.utf8 = false};
        canvas_begin(&canvas, 20, 1);
        canvas_bar(&canvas, INK_PLAIN, 4, expected[i].share);
        cr_assert_eq(strncmp(canvas.bytes, expected[i].bar, canvas.used), 0, "%g: %.*s",
                     expected[i].share, (int)canvas.used, canvas.bytes);
        canvas_free(&canvas);
    }
}

static void chart_is(unsigned width, unsigned height, unsigned row, unsigned count,
                     const char *expected)
{
    static const float values[] = {0, 0.5F, 1, 2, 4};
    struct canvas canvas = {.utf8 = false};
    canvas_begin(&canvas, 20, 1);
    canvas_chart(&canvas, INK_PLAIN, width, height, row, values, count, 4);
    canvas_line(&canvas);
    cr_assert_eq(strncmp(canvas.bytes, expected, strlen(expected)), 0, "'%.*s' is not '%s'",
                 (int)canvas.used, canvas.bytes, expected);
    canvas_free(&canvas);
}

Test(poolstat_watch, charts)
{
    chart_is(5, 1, 0, 5, " ..:#");
    chart_is(3, 1, 0, 5, ".:#");
    chart_is(8, 1, 0, 5, "    ..:#");
    chart_is(5, 2, 0, 5, "    #");
    chart_is(5, 2, 1, 5, " .:##");
    chart_is(5, 1, 0, 0, "     ");
}

/* Pools that go are forgotten, and a long history keeps its end. */
Test(poolstat_watch, histories)
{
    static struct pool items[POOLS];
    struct pools pools;
    struct histories histories = {0};
    pools_made(&pools, items);
    histories_add(&histories, &pools);
    cr_assert_eq(histories.count, (size_t)POOLS);
    const struct history *history = history_of(&histories, &items[1]);
    cr_assert_not_null(history);
    cr_assert_eq(history->count, 1);
    cr_assert_gt(history->values[SERIES_SPILL][0], 0);
    for (unsigned i = 0; i < HISTORY_KEPT + 10; i++)
        histories_add(&histories, &pools);
    cr_assert_eq(history->count, (unsigned)HISTORY_KEPT);
    pools.count = 2;
    histories_add(&histories, &pools);
    cr_assert_eq(histories.count, 2);
    cr_assert_null(history_of(&histories, &items[5]));
    pools.count = POOLS;
    histories_close(&histories);
    pools_unmade(&pools);
}
