/* SPDX-License-Identifier: MIT */
/* The pressure policy: reads its source, lets pressure_decide() say what to do, and tells where
 * word of pressure comes from. */
#define _GNU_SOURCE 1

#include "pressure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/alloc.h"
#include "../lib/growable.h"
#include "../lib/units.h"
#include "pressure_decide.h"
#include "words.h"

/* As systemd has them. */
#define STALL_DEFAULT_NS  UINT64_C(200000000)
#define WINDOW_DEFAULT_NS UINT64_C(2000000000)
enum { FLOOR_DEFAULT_PERCENT = 25 };

/* Of a path, in a reason. */
enum { SHOWN_BYTES = 72 };

struct pressure {
    spw_regulator regulator;
    struct pressure_source *source;
    struct pressure_state state;
    struct amount floor;
    enum pressure_kind asked; /* from outside, by option or systemd; PRESSURE_OFF: neither */
    /* The source as it was told last. */
    bool told;
    enum pressure_kind told_kind;
    enum pressure_way told_way;
    const spw_allocator *allocator;
};

static unsigned pressure_watch(spw_regulator *regulator, spw_watch watches[SPILLWAY_WATCHES_MAX])
{
    const struct pressure *pressure = (const struct pressure *)regulator;
    int fd = pressure_source_fd(pressure->source);
    if (fd < 0)
        return 0;
    watches[0] = (spw_watch){.fd = fd, .events = pressure_source_events(pressure->source)};
    return 1;
}

/* There is no word of pressure, or not from where it was asked for. That it has to be polled is no
 * loss: most users are refused a trigger. */
static bool is_less(const struct pressure *pressure)
{
    const struct pressure_source *source = pressure->source;
    return pressure_source_is_fallback(source) && (pressure_source_way(source) == PRESSURE_NONE ||
                                                   pressure_source_kind(source) > pressure->asked);
}

/* What tells most of a long path is its end. */
static const char *path_end(const char *path)
{
    size_t len = strlen(path);
    if (len > SHOWN_BYTES)
        path += len - SHOWN_BYTES;
    while (((unsigned char)*path & 0xc0) == 0x80) /* inside a character */
        path++;
    return path;
}

/* Where word comes from, and that there is none; once for each source. */
static void tell_source(struct pressure *pressure, spw_orders *orders)
{
    const struct pressure_source *source = pressure->source;
    enum pressure_kind kind = pressure_source_kind(source);
    enum pressure_way way = pressure_source_way(source);
    if (pressure->told && kind == pressure->told_kind && way == pressure->told_way)
        return;
    const char *why = pressure_source_why(source), *also = *why ? "; " : "";
    const char *name = pressure_source_name(source), *path = path_end(pressure_source_path(source));
    if (way == PRESSURE_NONE)
        orders_note(orders, "off", "no word of pressure: %s", why);
    else if (way == PRESSURE_MESSAGES)
        orders_note(orders, "watch", "%s %s, messages%s%s", name, path, also, why);
    else
        orders_note(orders, "watch", "%s %s%s, %s in %s is pressure%s%s", name, path,
                    way == PRESSURE_POLLED ? ", polled" : "",
                    show_time(pressure_source_stall_ns(source)).text,
                    show_time(pressure_source_window_ns(source)).text, also, why);
    /* Polling is told, but no reason for a warning: most users are refused a trigger. */
    if (pressure_source_is_fallback(source) && (way == PRESSURE_NONE || kind > pressure->asked))
        orders->fallback = "pressure";
    pressure->told = true;
    pressure->told_kind = kind;
    pressure->told_way = way;
}

static void pressure_apply(spw_regulator *regulator, const spw_outlook *outlook, spw_orders *orders)
{
    struct pressure *pressure = (struct pressure *)regulator;
    struct pressure_source *source = pressure->source;
    struct pressure_reading reading;
    int err = pressure_source_read(source, outlook->reported[0], &reading);
    struct pressure_input input = {
        .reading = err == 0 ? &reading : NULL,
        .way = pressure_source_way(source),
        .interval_ns = pressure_source_interval_ns(source),
        .stall_ns = pressure_source_stall_ns(source),
        .window_ns = pressure_source_window_ns(source),
    };
    pressure_decide(&pressure->state, pressure->floor, &input, outlook, orders);
    if (orders->action == NULL)
        tell_source(pressure, orders);
}

/* "25%" or "64MiB". */
static void floor_set(struct pressure *pressure, const char *value)
{
    struct amount floor = {0, 0};
    int err = strchr(value, '%') ? units_parse_percent(value, &floor.percent)
                                 : units_parse_bytes(value, &floor.bytes);
    if (!err)
        pressure->floor = floor;
}

/* "200ms/2s". */
static void stall_set(struct pressure *pressure, const char *value)
{
    uint64_t stall_ns, window_ns;
    char stall[UNITS_TEXT_BYTES];
    size_t len = strcspn(value, "/");
    if (value[len] != '/' || len >= sizeof(stall))
        return;
    memcpy(stall, value, len);
    stall[len] = '\0';
    if (units_parse_duration(stall, &stall_ns) == 0 &&
        units_parse_duration(value + len + 1, &window_ns) == 0)
        pressure_source_tune(pressure->source, stall_ns, window_ns);
    pressure->told = false;
}

static void pressure_set(spw_regulator *regulator, const char *name, const char *value)
{
    struct pressure *pressure = (struct pressure *)regulator;
    if (strcmp(name, "floor") == 0)
        floor_set(pressure, value);
    else if (strcmp(name, "stall") == 0)
        stall_set(pressure, value);
}

static void pressure_close(spw_regulator *regulator)
{
    struct pressure *pressure = (struct pressure *)regulator;
    pressure_source_close(pressure->source);
    allocator_release(pressure->allocator, pressure, sizeof(*pressure));
}

static const spw_regulator_ops pressure_ops = {
    .size = sizeof(pressure_ops),
    .name = "pressure",
    .watch = pressure_watch,
    .apply = pressure_apply,
    .close = pressure_close,
    .set = pressure_set,
};

static int read_config(const spw_pressure_config *config, spw_pressure_config *known)
{
    int err = growable_read(config, PRESSURE_CONFIG_FIRST_BYTES, known, sizeof(*known));
    if (err)
        return err;
    if (known->stall_ns == 0)
        known->stall_ns = STALL_DEFAULT_NS;
    if (known->window_ns == 0)
        known->window_ns = WINDOW_DEFAULT_NS;
    if (known->floor_percent == 0)
        known->floor_percent = FLOOR_DEFAULT_PERCENT;
    return known->floor_percent > 100 ? -EINVAL : 0;
}

int pressure_open_on(const struct pressure_host *host, const spw_pressure_config *config,
                     spw_regulator **out)
{
    spw_pressure_config known = {.floor_bytes = SPILLWAY_AUTO};
    int err = read_config(config, &known);
    if (err)
        return err;
    const spw_allocator *allocator = allocator_or_default(known.allocator);
    struct pressure *pressure = allocator_zeroed(allocator, sizeof(*pressure));
    if (!pressure)
        return -ENOMEM;
    bool chosen = known.source && strcmp(known.source, "auto") != 0;
    const struct pressure_source_config source = {
        .os = host->os,
        .allocator = allocator,
        .root = host->root,
        .watch = host->watch,
        .write = host->write,
        .explicit_path = chosen ? known.source : NULL,
        .stall_ns = known.stall_ns,
        .window_ns = known.window_ns,
    };
    pressure->regulator.ops = &pressure_ops;
    pressure->allocator = allocator;
    pressure->asked = chosen                        ? PRESSURE_OPTION
                      : host->watch && *host->watch ? PRESSURE_SYSTEMD
                                                    : PRESSURE_OFF;
    err = pressure_source_open(&source, &pressure->source);
    if (!err && known.strict && is_less(pressure))
        err = -EOPNOTSUPP;
    if (err) {
        pressure_close(&pressure->regulator);
        return err;
    }
    if (known.floor_bytes == SPILLWAY_AUTO)
        pressure->floor.percent = known.floor_percent;
    else
        pressure->floor.bytes = known.floor_bytes;
    *out = &pressure->regulator;
    return 0;
}

int spw_pressure_open(const spw_pressure_config *config, spw_regulator **out)
{
    const struct pressure_host host = {
        .os = &os_linux,
        .watch = secure_getenv("MEMORY_PRESSURE_WATCH"),
        .write = secure_getenv("MEMORY_PRESSURE_WRITE"),
    };
    return pressure_open_on(&host, config, out);
}
