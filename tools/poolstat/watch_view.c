/* SPDX-License-Identifier: MIT */
#include "watch_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/text.h"

enum {
    LABEL = 9,       /* columns of a row's name */
    SHARE_TEXT = 35, /* of "100%  1023 MiB of 1023 MiB" and the like */
    RATE_TEXT = 16,  /* of "1023 MiB/s" */
    CHART_MIN = 8,   /* a narrower chart says nothing */
    CHART_HIGH = 5,  /* rows at most */
    TABLE_MIN = 3,   /* rows, with the titles */
    SMALL = 14,      /* a lower screen has no details */
    DETAILS = 13,    /* rows of details with charts of one row */
    CHARTS = 4,      /* that may be higher */
};

const char watch_columns[] =
    "pid,pool,resident,use,queues,disk,spill,fetch,memory,wwait,rwait,late,inflight,held,lent,"
    "elided,copied,io,oldest,wakeups,runs,budget,peak,state,process,user";

/* ---- the table ---- */

static unsigned width_of(const struct column *column)
{
    unsigned title = (unsigned)strlen(column->title);

    return title > (unsigned)column->width ? title : (unsigned)column->width;
}

/* How many of the columns fit beside each other. */
static unsigned columns_that_fit(const struct canvas *canvas, const struct columns *columns)
{
    unsigned used = 0, count = 0;

    for (; count < columns->count; count++) {
        used += width_of(columns->items[count]) + (count > 0);
        if (used > canvas->columns)
            break;
    }
    return count;
}

static void put_cell(struct canvas *canvas, enum ink ink, const struct column *column,
                     const char *text)
{
    unsigned start = canvas->column, width = width_of(column), edge = canvas->columns;
    unsigned taken = canvas_width(canvas, text);

    if (column->unit != UNIT_TEXT && taken < width)
        canvas_to(canvas, start + width - taken);
    if (column->unit == UNIT_TEXT && start + width < edge)
        canvas->columns = start + width; /* names may be long; numbers are not cut */
    canvas_put(canvas, ink, text);
    canvas->columns = edge;
    canvas_to(canvas, start + width);
}

static void draw_titles(struct canvas *canvas, const struct columns *columns, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            canvas_put(canvas, INK_PLAIN, " ");
        put_cell(canvas, INK_BOLD, columns->items[i], columns->items[i]->title);
    }
    canvas_line(canvas);
}

static enum ink ink_of_share(double share)
{
    return share >= 0.9 ? INK_HOT : share >= 0.7 ? INK_WARM : INK_GOOD;
}

static void draw_line(struct canvas *canvas, const struct watch_look *look, unsigned count,
                      const struct pool *pool, bool selected)
{
    struct value value;
    char text[VALUE_TEXT];

    for (unsigned i = 0; i < count; i++) {
        const struct column *column = look->columns->items[i];
        enum ink ink = selected ? INK_TURNED : INK_PLAIN;

        column_value(column, pool, &value);
        column_text(column, &value, look->exact, text);
        if (!selected && value.known && column->source == FROM_SHARE)
            ink = ink_of_share(value.number / 100);
        if (i > 0)
            canvas_put(canvas, selected ? INK_TURNED : INK_PLAIN, " ");
        put_cell(canvas, ink, column, text);
    }
    canvas_line(canvas);
}

/* As many lines as there is room for, the selected one among them. */
static void draw_table(struct canvas *canvas, const struct watch_look *look, unsigned rows)
{
    unsigned count = columns_that_fit(canvas, look->columns);
    size_t pools = look->pools->count, room = rows > 1 ? rows - 1 : 1, first = 0;
    char more[64];

    draw_titles(canvas, look->columns, count);
    if (pools > room && room > 1)
        room--;
    if (look->selected >= room)
        first = look->selected - room + 1;
    for (size_t i = first; i < pools && i < first + room; i++)
        draw_line(canvas, look, count, &look->pools->items[i], pools > 1 && i == look->selected);
    if (pools > room && rows > 2) {
        (void)snprintf(more, sizeof(more), "%zu of %zu pools", room, pools);
        canvas_put(canvas, INK_DIM, more);
        canvas_line(canvas);
    }
}

/* ---- the details ---- */

static void put_label(struct canvas *canvas, const char *text)
{
    canvas_put(canvas, INK_DIM, text);
    canvas_to(canvas, LABEL);
}

/* The rest of a line from `column` on. */
static unsigned chart_width(const struct canvas *canvas, unsigned column)
{
    return canvas->columns > column + 1 + CHART_MIN ? canvas->columns - column - 1 : 0;
}

static void draw_share(struct canvas *canvas, const struct watch_look *look,
                       const struct pool *pool, const char *name, const char *part,
                       const char *whole, enum series series)
{
    const struct history *history = history_of(look->histories, pool);
    uint64_t used = value_stat_or_0(&pool->now, part), all = value_stat_or_0(&pool->now, whole);
    unsigned bar = canvas->columns > 60 ? (canvas->columns - 60) / 3 + 14 : 10;
    double share = all > 0 ? (double)used / (double)all : 0;
    char a[TEXT_NUMBER_BYTES], b[TEXT_NUMBER_BYTES];
    unsigned width;

    put_label(canvas, name);
    canvas_bar(canvas, ink_of_share(share), bar, share);
    if (all == 0) {
        canvas_put(canvas, INK_DIM, "       none");
    } else {
        canvas_print(canvas, INK_BOLD, " %4.0f%%", share * 100);
        canvas_print(canvas, INK_PLAIN, "  %s of %s", text_size(a, used), text_size(b, all));
    }
    width = chart_width(canvas, LABEL + bar + 2 + SHARE_TEXT);
    if (history != NULL && width > 0 && all > 0) {
        canvas_to(canvas, canvas->columns - width);
        canvas_chart(canvas, ink_of_share(share), width, 1, 0, history->values[series],
                     history->count, 1);
    }
    canvas_line(canvas);
}

static float highest(const float *values, unsigned count, unsigned width)
{
    float most = 0;

    for (unsigned i = count > width ? count - width : 0; i < count; i++)
        most = values[i] > most ? values[i] : most;
    return most;
}

/* A chart with its value of now; what is as high as the chart is told where there is room. */
static void draw_chart(struct canvas *canvas, const struct history *history, enum series series,
                       const char *name, const char *now, unsigned height, bool bytes)
{
    unsigned width = chart_width(canvas, LABEL + RATE_TEXT);
    const float *values = history != NULL ? history->values[series] : NULL;
    unsigned count = history != NULL ? history->count : 0;
    float most = count > 0 ? highest(values, count, width) : 0;
    char text[TEXT_NUMBER_BYTES], at_most[64];

    for (unsigned row = 0; row < height; row++) {
        put_label(canvas, row == 0 ? name : "");
        if (row == 0)
            canvas_put(canvas, INK_BOLD, now);
        if (row == 1 && bytes && most > 0) {
            (void)snprintf(at_most, sizeof(at_most), "max %s/s",
                           text_size(text, value_rounded(most)));
            canvas_put(canvas, INK_DIM, at_most);
        }
        if (width > 0 && values != NULL) {
            canvas_to(canvas, canvas->columns - width);
            canvas_chart(canvas, INK_GOOD, width, height, row, values, count, most);
        }
        canvas_line(canvas);
    }
}

static void draw_rate(struct canvas *canvas, const struct watch_look *look, const struct pool *pool,
                      const char *name, enum series series, unsigned height)
{
    const struct history *history = history_of(look->histories, pool);
    float last =
        history != NULL && history->count > 0 ? history->values[series][history->count - 1] : 0;
    char size[TEXT_NUMBER_BYTES], now[64];
    bool bytes = series == SERIES_SPILL || series == SERIES_FETCH;

    if (bytes)
        (void)snprintf(now, sizeof(now), "%s/s", text_size(size, value_rounded(last)));
    else
        (void)snprintf(now, sizeof(now), "%.1f%% wait", (double)last * 100);
    draw_chart(canvas, history, series, name, now, height, bytes);
}

/* Columns by name with their titles in words, one behind the other. */
struct figure {
    const char *column, *before, *behind;
};

static void draw_figures(struct canvas *canvas, const struct watch_look *look,
                         const struct pool *pool, const char *name, const struct figure *figures)
{
    struct column made;
    char made_name[PAGE_NAME_BYTES], text[VALUE_TEXT];
    struct value value;

    put_label(canvas, name);
    for (; figures->column != NULL; figures++) {
        const struct column *column = column_find(figures->column, look->pools, &made, made_name);

        if (column == NULL)
            continue;
        column_value(column, pool, &value);
        canvas_print(canvas, INK_DIM, "%s ", figures->before);
        canvas_print(canvas, INK_PLAIN, "%s%s  ", column_text(column, &value, look->exact, text),
                     figures->behind);
    }
    canvas_line(canvas);
}

static void draw_queues(struct canvas *canvas, const struct pool *pool)
{
    char size[TEXT_NUMBER_BYTES];
    size_t count;
    struct queue_value *queues = value_queues(&pool->now, &count);

    put_label(canvas, "queues");
    canvas_print(canvas, INK_PLAIN, "%" PRIu64 " open", value_stat_or_0(&pool->now, "queues"));
    for (size_t i = 0; i < count && i < 8; i++) {
        canvas_print(canvas, INK_DIM, "%s %s ", i > 0 ? "," : ";",
                     queues[i].name[0] != '\0' ? queues[i].name : "-");
        canvas_put(canvas, INK_PLAIN,
                   text_short(size, queues[i].resident_bytes + queues[i].paged_bytes));
    }
    canvas_line(canvas);
    free(queues);
}

static void draw_why(struct canvas *canvas, const struct pool *pool)
{
    char ago[TEXT_NUMBER_BYTES], fallbacks[512];
    size_t count;
    struct decision_value *decisions = value_decisions(&pool->now, &count);
    const struct decision_value *last = count > 0 ? &decisions[count - 1] : NULL;

    put_label(canvas, "why");
    if (last != NULL)
        canvas_print(canvas, INK_PLAIN, "%s ago %s: %s: %s",
                     text_clock(ago, pool->now.taken_ns > last->time_ns
                                         ? pool->now.taken_ns - last->time_ns
                                         : 0),
                     last->regulator, last->action, last->reason);
    else if (value_text(&pool->now, "fallbacks", fallbacks, sizeof(fallbacks))[0] != '\0')
        canvas_print(canvas, INK_WARM, "fell back: %s", fallbacks);
    else
        canvas_put(canvas, INK_DIM, "nothing was decided so far");
    canvas_line(canvas);
    free(decisions);
}

static void draw_title(struct canvas *canvas, const struct pool *pool)
{
    char user[64], up[TEXT_NUMBER_BYTES], engine[32];

    canvas_put(canvas, INK_BOLD, pool->now.header.name);
    canvas_print(canvas, INK_PLAIN, "  process %ld (%s) of %s, ", (long)pool->process.pid,
                 pool->process.comm, value_user(&pool->process, user, sizeof(user)));
    canvas_put(canvas, strcmp(value_state(pool), "running") == 0 ? INK_PLAIN : INK_HOT,
               value_state(pool));
    canvas_print(canvas, INK_PLAIN, ", open for %s, %s", text_clock(up, value_up_ns(&pool->now)),
                 value_text(&pool->now, "engine", engine, sizeof(engine)));
    canvas_line(canvas);
}

static void draw_details(struct canvas *canvas, const struct watch_look *look, unsigned rows)
{
    static const struct figure moved[] = {{"late", "late", "/s"},     {"wasted", "wasted", "/s"},
                                          {"elided", "elided", "/s"}, {"io", "I/O", "/s"},
                                          {"oldest", "oldest", ""},   {NULL, NULL, NULL}};
    static const struct figure times[] = {{"extend_p99", "extend", ""}, {"drain_p99", "drain", ""},
                                          {"hold_p99", "hold", ""},     {"write_p99", "write", ""},
                                          {"read_p99", "read", ""},     {NULL, NULL, NULL}};
    static const struct figure troubles[] = {{"errors", "errors", ""}, {"lost", "lost", ""},
                                             {"over", "over", ""},     {"full", "full", ""},
                                             {"held", "held", ""},     {NULL, NULL, NULL}};
    const struct pool *pool = &look->pools->items[look->selected];
    unsigned height = rows > DETAILS ? 1 + (rows - DETAILS) / CHARTS : 1;

    height = height < CHART_HIGH ? height : CHART_HIGH;
    draw_title(canvas, pool);
    draw_share(canvas, look, pool, "resident", "used_bytes", "budget_bytes", SERIES_RESIDENT);
    draw_share(canvas, look, pool, "memory", "memory_tier_stored_bytes",
               "memory_tier_capacity_bytes", SERIES_MEMORY);
    draw_share(canvas, look, pool, "disk", "disk_stored_bytes", "disk_limit_bytes", SERIES_DISK);
    draw_rate(canvas, look, pool, "spill", SERIES_SPILL, height);
    draw_rate(canvas, look, pool, "fetch", SERIES_FETCH, height);
    draw_rate(canvas, look, pool, "writers", SERIES_WRITERS, height);
    draw_rate(canvas, look, pool, "readers", SERIES_READERS, height);
    draw_figures(canvas, look, pool, "moved", moved);
    draw_figures(canvas, look, pool, "99% of", times);
    draw_figures(canvas, look, pool, "troubles", troubles);
    draw_queues(canvas, pool);
    draw_why(canvas, pool);
}

/* ---- all of it ---- */

static void draw_head(struct canvas *canvas, const struct watch_look *look)
{
    size_t count = look->pools->count;

    canvas_put(canvas, INK_BOLD, "poolstat");
    canvas_print(canvas, INK_PLAIN, "  %zu pool%s, every %g s%s", count, count == 1 ? "" : "s",
                 (double)look->interval_ns / 1e9, look->paused ? ", paused" : "");
    canvas_right(canvas, INK_DIM, look->clock);
    canvas_line(canvas);
    if (canvas->rows < SMALL)
        return;
    canvas_put(canvas, INK_DIM, look->pressure);
    canvas_line(canvas);
    canvas_line(canvas);
}

static void draw_foot(struct canvas *canvas, const struct watch_look *look)
{
    if (canvas_left(canvas) == 0)
        return;
    while (canvas_left(canvas) > 1)
        canvas_line(canvas);
    canvas_put(canvas, INK_DIM, "q quit  arrows choose  s sort  space pause");
    canvas_right(canvas, INK_DIM, look->unseen);
    canvas_line(canvas);
}

void watch_draw(struct canvas *canvas, const struct watch_look *look)
{
    unsigned room, table, wanted = (unsigned)look->pools->count + 1;

    draw_head(canvas, look);
    if (look->pools->count == 0) {
        canvas_put(canvas, INK_PLAIN, "There are no pools that this user may see.");
        canvas_line(canvas);
        draw_foot(canvas, look);
        return;
    }
    room = canvas_left(canvas) > 1 ? canvas_left(canvas) - 1 : 0; /* without the foot */
    if (room == 0) {
        draw_foot(canvas, look);
        return;
    }
    if (canvas->rows < SMALL || room < TABLE_MIN + 1 + DETAILS) {
        draw_table(canvas, look, room);
        draw_foot(canvas, look);
        return;
    }
    table = room - 1 - DETAILS;
    table = wanted < table ? wanted : table;
    draw_table(canvas, look, table);
    canvas_line(canvas);
    draw_details(canvas, look, room - 1 - table);
    draw_foot(canvas, look);
}
