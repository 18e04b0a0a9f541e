/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include <poll.h>

#include "pressure_impl.h"

static int side_text(struct pressure_source *source, const char *directory, const char *file,
                     struct psi_text *text)
{
    char path[PATH_BYTES], buf[WATCH_TEXT_BYTES];
    long len = pressure_path(path, directory, file);

    if (len == 0)
        len = watch_read_file(source->os, path, buf, sizeof(buf));
    return len < 0 ? (int)len : psi_parse(buf, (size_t)len, text);
}

/* Totals from another file are another generation. Returns 0 or a passing error. */
static int read_side(struct pressure_source *source, const char *group_file,
                     const char *machine_file, enum side *side, struct psi_text *text)
{
    enum side now = SIDE_NONE;
    int rc = -ENOENT;

    if (source->group.found) {
        rc = side_text(source, source->group.directory, group_file, text);
        if (rc == 0)
            now = SIDE_GROUP;
    }
    if (rc < 0 && !pressure_is_passing(rc)) {
        rc = side_text(source, source->root, machine_file, text);
        if (rc == 0)
            now = SIDE_MACHINE;
    }
    if (pressure_is_passing(rc))
        return rc;
    source->generation += now != *side;
    *side = now;
    return 0;
}

static int read_events(struct pressure_source *source, struct pressure_reading *reading)
{
    char path[PATH_BYTES], buf[WATCH_TEXT_BYTES];
    long len;

    if (!source->group.found || pressure_path(path, source->group.directory, "memory.events") < 0)
        return 0;
    len = watch_read_file(source->os, path, buf, sizeof(buf));
    if (len < 0)
        return pressure_is_passing((int)len) ? (int)len : 0;
    reading->has_events = memory_events_parse(buf, (size_t)len, &reading->events) == 0;
    return 0;
}

/* What is watched itself. Returns 0 or -errno: a passing error, or it has ended. */
static int read_watched(struct pressure_source *source, short revents,
                        struct pressure_reading *reading)
{
    bool broken = (revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
    enum pressure_way way = source->watch.way;
    uint64_t total_us;
    int rc;

    if (way == PRESSURE_MESSAGES)
        return watch_messages(&source->watch, revents != 0, &reading->event);
    rc = watch_text(&source->watch, broken, &reading->memory);
    if (rc < 0)
        return rc;
    if (source->watch.way != way)
        pressure_lose_trigger(source);
    reading->has_memory = true;
    total_us =
        source->watch.armed.full ? reading->memory.full.total_us : reading->memory.some.total_us;
    reading->event |=
        gauge_read(&source->gauge, !broken && (revents & POLLPRI) != 0, total_us, reading->now_ns);
    return 0;
}

static int read_all(struct pressure_source *source, short revents, struct pressure_reading *reading)
{
    int rc = source->settled ? 0 : pressure_settle(source, source->kind);

    while (rc == 0 && source->watch.way != PRESSURE_NONE) {
        rc = read_watched(source, revents, reading);
        if (rc == 0 || pressure_is_passing(rc))
            break;
        rc = pressure_fall(source, rc);
        revents = 0;
    }
    if (rc < 0 || source->watch.way == PRESSURE_NONE)
        return rc;
    if (source->watch.way == PRESSURE_MESSAGES) {
        rc = read_side(source, "memory.pressure", "proc/pressure/memory", &source->memory_side,
                       &reading->memory);
        reading->has_memory = source->memory_side != SIDE_NONE;
    }
    if (rc == 0) {
        rc = read_side(source, "io.pressure", "proc/pressure/io", &source->io_side, &reading->io);
        reading->has_io = source->io_side != SIDE_NONE;
    }
    return rc == 0 ? read_events(source, reading) : rc;
}

int pressure_source_read(struct pressure_source *source, short revents,
                         struct pressure_reading *out)
{
    struct pressure_reading reading = {.now_ns = source->os->clock_ns(),
                                       .event = source->event_kept};
    int rc = read_all(source, revents, &reading);

    /* What came through a FIFO does not come again. */
    source->event_kept = rc < 0 && reading.event;
    if (rc < 0)
        return rc;
    reading.generation = source->generation;
    *out = reading;
    return 0;
}
