/* SPDX-License-Identifier: MIT */
/* poolstat config: the settings of each pool: value, default, where it came from. */
#include <stdio.h>
#include <string.h>

#include "../common/text.h"
#include "json_out.h"
#include "show.h"

enum { NAME = 14, VALUE = 22, DEFAULT = 12, ORIGIN = 12 };

/* "control 3:05 ago". */
static void show_origin(const struct page_copy *copy, const struct copied_section *section,
                        uint32_t row, char *out, size_t capacity)
{
    uint64_t set_ns = page_number(copy, section, row, page_field(copy, section, "set_ns"));
    char origin[32], ago[TEXT_NUMBER_BYTES];

    page_text(copy, section, row, page_field(copy, section, "origin"), origin, sizeof(origin));
    if (set_ns == 0)
        (void)snprintf(out, capacity, "%s", origin);
    else
        (void)snprintf(out, capacity, "%s %s ago", origin,
                       text_clock(ago, copy->taken_ns > set_ns ? copy->taken_ns - set_ns : 0));
}

static int origin_width(const struct page_copy *copy, const struct copied_section *section)
{
    char origin[64];
    int width = ORIGIN;

    for (uint32_t row = 0; section != NULL && row < section->rows; row++) {
        show_origin(copy, section, row, origin, sizeof(origin));
        width = (int)strlen(origin) > width ? (int)strlen(origin) : width;
    }
    return width;
}

static void print_pool(const struct pool *pool, const struct args *args)
{
    const struct page_copy *copy = &pool->now;
    const struct copied_section *section = page_section(copy, "settings");
    int width = origin_width(copy, section);
    char name[64], value[512], fallback[64], origin[64], help[512];

    printf("%s  process %ld (%s)\n", copy->header.name, (long)pool->process.pid,
           pool->process.comm);
    if (!args->no_header)
        printf("  %-*s %-*s %-*s %-*s %s\n", NAME, "SETTING", VALUE, "VALUE", DEFAULT, "DEFAULT",
               width, "FROM", "WHAT IT DOES");
    for (uint32_t row = 0; section != NULL && row < section->rows; row++) {
        page_text(copy, section, row, page_field(copy, section, "name"), name, sizeof(name));
        page_text(copy, section, row, page_field(copy, section, "value"), value, sizeof(value));
        page_text(copy, section, row, page_field(copy, section, "fallback"), fallback,
                  sizeof(fallback));
        show_origin(copy, section, row, origin, sizeof(origin));
        page_text(copy, section, row, page_field(copy, section, "help"), help, sizeof(help));
        if (name[0] != '\0')
            printf("  %-*s %-*s %-*s %-*s %s\n", NAME, name, VALUE, value, DEFAULT, fallback, width,
                   origin, help);
    }
}

static void print_json(const struct session *session)
{
    struct json json;

    json_begin_document(&json, session);
    for (size_t i = 0; i < session->pools.count; i++) {
        json_open(&json, '{', false);
        json_put_owner(&json, &session->pools.items[i]);
        json_put_rows(&json, &session->pools.items[i].now, "settings");
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
}

int show_config(const struct args *args)
{
    struct session session;
    int code = session_open(&session, args, false);

    if (code == EXIT_FINE)
        code = session_sort(&session);
    if (code == EXIT_FINE && args->json)
        print_json(&session);
    for (size_t i = 0; code == EXIT_FINE && !args->json && i < session.pools.count; i++) {
        if (i > 0)
            putchar('\n');
        print_pool(&session.pools.items[i], args);
    }
    session_close(&session);
    return show_end(code);
}
