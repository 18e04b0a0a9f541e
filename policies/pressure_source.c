/* SPDX-License-Identifier: MIT */
/* The order of sources, and readings of the one in use. */
#define _GNU_SOURCE 1

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "../lib/alloc.h"
#include "../lib/text.h"
#include "pressure_impl.h"

/* Of polling. */
#define INTERVAL_MAX_NS UINT64_C(1000000000)
#define INTERVAL_MIN_NS UINT64_C(50000000)

static const char *const names[] = {[PRESSURE_OPTION] = "option",
                                    [PRESSURE_SYSTEMD] = "systemd",
                                    [PRESSURE_CGROUP] = "cgroup",
                                    [PRESSURE_PROC] = "proc",
                                    [PRESSURE_OFF] = "off"};

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* --- why ------------------------------------------------------------------------------------ */

static const char *reason(int err)
{
    switch (err) {
    case -EBADMSG:
        return "not the text of a pressure file";
    case -ECANCELED:
        return "turned off";
    case -ENXIO:
        return "neither a file, a FIFO nor a socket";
    case -EPIPE:
        return "the other end has closed";
    case -ENOLINK:
        return "not an absolute path";
    default:
        return strerrordesc_np(-err);
    }
}

/* One more part of the text that says why nothing better is used. */
static void add_why(struct pressure_source *source, const char *name, const char *path,
                    const char *text)
{
    char part[WHY_BYTES];
    size_t used = strlen(source->why);
    int n = snprintf(part, sizeof(part), "%s%s: %.200s%s%s", used > 0 ? "; " : "", name, path,
                     path[0] != '\0' ? ": " : "", text);

    if (n < 0 || used + 4 > sizeof(source->why))
        return;
    text_copy_clean(source->why + used, sizeof(source->why) - used, part);
}

/* --- the order ------------------------------------------------------------------------------ */

int pressure_path(char path[PATH_BYTES], const char *directory, const char *file)
{
    int n = snprintf(path, PATH_BYTES, "%s/%s", directory, file);

    return n > 0 && n < PATH_BYTES ? 0 : -ENAMETOOLONG;
}

/* The top of the whole hierarchy has no such file. */
static bool is_top_group(const struct pressure_source *source)
{
    const struct cgroup_path *group = &source->group;
    char path[PATH_BYTES], type[16];

    return group->directory[group->mount_len] == '\0' &&
           pressure_path(path, group->directory, "cgroup.type") == 0 &&
           watch_read_file(source->os, path, type, sizeof(type)) == -ENOENT;
}

/* Returns 0 or a passing error; then `group` is as it was. */
static int find_group(const struct pressure_source *source, struct cgroup_path *group)
{
    struct cgroup_path v1, v2;
    int rc = cgroup_paths(source->os, source->root, &v1, &v2);

    if (rc == 0)
        *group = v2;
    return rc;
}

static int open_in(struct pressure_source *source, const char *directory, const char *file,
                   struct psi_text *text)
{
    int rc = pressure_path(source->path, directory, file);

    return rc < 0 ? rc : watch_open(&source->watch, source->os, source->path, &source->wish, text);
}

static int open_group(struct pressure_source *source, struct psi_text *text)
{
    int rc;

    source->path[0] = '\0';
    if (!source->group.found)
        return -ENOENT;
    rc = open_in(source, source->group.directory, "memory.pressure", text);
    /* There it is the whole machine's, like /proc's, where nobody is refused a trigger. */
    if (rc == 0 && source->watch.refusal != 0 && is_top_group(source))
        return source->watch.refusal;
    return rc;
}

static int open_given(struct pressure_source *source, const char *path,
                      const struct watch_wish *wish, struct psi_text *text)
{
    if (path[0] != '/')
        return -ENOLINK;
    return watch_open(&source->watch, source->os, path, wish, text);
}

/* Returns 0 or -errno: -ECANCELED turns everything off. */
static int open_as(struct pressure_source *source, enum pressure_kind kind, struct psi_text *text)
{
    switch (kind) {
    case PRESSURE_OPTION:
        if (strcmp(source->option, "off") == 0)
            return -ECANCELED;
        return open_given(source, source->option, &source->wish, text);
    case PRESSURE_SYSTEMD:
        return open_given(source, source->systemd, &source->systemd_wish, text);
    case PRESSURE_CGROUP:
        return open_group(source, text);
    case PRESSURE_PROC:
        return open_in(source, source->root, "proc/pressure/memory", text);
    case PRESSURE_OFF:
        break;
    }
    return 0;
}

static const char *path_of(const struct pressure_source *source, enum pressure_kind kind)
{
    switch (kind) {
    case PRESSURE_OPTION:
        return source->option;
    case PRESSURE_SYSTEMD:
        return source->systemd;
    case PRESSURE_CGROUP:
    case PRESSURE_PROC:
        return source->path;
    case PRESSURE_OFF:
        break;
    }
    return "";
}

static bool is_asked_for(const struct pressure_source *source, enum pressure_kind kind)
{
    return (kind != PRESSURE_OPTION || is_set(source->option)) &&
           (kind != PRESSURE_SYSTEMD || is_set(source->systemd));
}

static void say(struct pressure_source *source)
{
    static const char *const ways[] = {[PRESSURE_NONE] = "",
                                       [PRESSURE_TRIGGER] = ", with a trigger",
                                       [PRESSURE_MESSAGES] = ", messages",
                                       [PRESSURE_POLLED] = ", polled"};
    bool why = source->why[0] != '\0';

    if (source->log == NULL)
        return;
    log_line(source->log, source->fallback ? SPILLWAY_LOG_WARN : SPILLWAY_LOG_INFO,
             "memory pressure: %s%s%s%s%s%s%s", names[source->kind],
             source->shown[0] != '\0' ? " " : "", source->shown, ways[source->watch.way],
             why ? " (" : "", source->why, why ? ")" : "");
}

/* `kind` has been opened, or everything is off. */
static void take(struct pressure_source *source, enum pressure_kind kind,
                 const struct psi_text *text)
{
    const struct psi_trigger *armed = &source->watch.armed;

    source->kind = kind;
    source->settled = true;
    source->generation++;
    text_copy_clean(source->shown, sizeof(source->shown), path_of(source, kind));
    if (source->watch.way == PRESSURE_POLLED && source->watch.refusal != 0) {
        source->fallback = true;
        add_why(source, "no trigger", "", reason(source->watch.refusal));
    }
    if (source->watch.way == PRESSURE_TRIGGER || source->watch.way == PRESSURE_POLLED)
        gauge_begin(&source->gauge, armed->stall_us, armed->window_us * NS_PER_US,
                    armed->full ? text->full.total_us : text->some.total_us,
                    source->os->clock_ns());
    say(source);
}

static void stop_watching(struct pressure_source *source)
{
    watch_close(&source->watch);
    source->watch = (struct watch){.os = source->os, .way = PRESSURE_NONE, .fd = -1};
}

int pressure_settle(struct pressure_source *source, enum pressure_kind first)
{
    struct psi_text text = {.has_full = false};
    enum pressure_kind kind;
    bool wanted = true;
    int rc;

    source->settled = false;
    for (kind = first; kind < PRESSURE_OFF && wanted; kind++) {
        source->kind = kind;
        if (!is_asked_for(source, kind))
            continue;
        rc = open_as(source, kind, &text);
        if (rc == 0) {
            take(source, kind, &text);
            return 0;
        }
        stop_watching(source);
        if (pressure_is_passing(rc))
            return rc;
        add_why(source, names[kind], path_of(source, kind), reason(rc));
        wanted = rc != -ECANCELED;
        source->fallback |= wanted && kind <= PRESSURE_SYSTEMD;
    }
    source->fallback |= wanted;
    take(source, PRESSURE_OFF, &text);
    return 0;
}

int pressure_fall(struct pressure_source *source, int err)
{
    enum pressure_kind next = source->kind + 1;
    struct cgroup_path group = source->group;

    stop_watching(source);
    source->fallback = true;
    add_why(source, names[source->kind], source->shown, reason(err));
    /* The process may have been moved before its group was removed. */
    (void)find_group(source, &group);
    if (source->kind == PRESSURE_CGROUP && group.found &&
        strcmp(group.directory, source->group.directory) != 0)
        next = PRESSURE_CGROUP;
    source->group = group;
    return pressure_settle(source, next);
}

void pressure_lose_trigger(struct pressure_source *source)
{
    source->fallback = true;
    add_why(source, "no trigger", "", reason(source->watch.refusal));
    say(source);
}

/* --- open and close ------------------------------------------------------------------------- */

/* Copies a text behind the struct and moves `at` on. */
static const char *keep(char **at, const char *text)
{
    size_t len = text != NULL ? strlen(text) : 0;
    char *copy = *at;

    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    *at += len + 1;
    return copy;
}

static size_t text_bytes(const char *text)
{
    return (text != NULL ? strlen(text) : 0) + 1;
}

/* What is not Base64 is left out and told. */
static void decode_message(struct pressure_source *source, const char *text)
{
    struct watch_wish *wish = &source->systemd_wish;
    long len = 0;

    if (is_set(text) && is_set(source->systemd))
        len = base64_decode(text, wish->message, sizeof(wish->message));
    if (len < 0) {
        source->fallback = true;
        add_why(source, "MEMORY_PRESSURE_WRITE", "", len == -EFBIG ? "too long" : "not Base64");
    }
    wish->message_len = len > 0 ? (size_t)len : 0;
}

static void wish_for(struct pressure_source *source, uint64_t stall_ns, uint64_t window_ns)
{
    source->wish.stall_us = source->systemd_wish.stall_us = stall_ns / NS_PER_US;
    source->wish.window_us = source->systemd_wish.window_us = window_ns / NS_PER_US;
}

int pressure_source_open(const struct pressure_source_config *config, struct pressure_source **out)
{
    const spw_allocator *allocator = allocator_or_default(config->allocator);
    const char *path = config->explicit_path;
    const char *option = path != NULL && strcmp(path, "auto") == 0 ? NULL : path;
    size_t size_bytes = sizeof(struct pressure_source) + text_bytes(config->root) +
                        text_bytes(config->watch) + text_bytes(option);
    struct pressure_source *source;
    char *texts;
    int rc;

    if (config->stall_ns < NS_PER_US || config->stall_ns > config->window_ns)
        return -EINVAL;
    source = allocator_zeroed(allocator, size_bytes);
    if (source == NULL)
        return -ENOMEM;
    source->os = config->os;
    source->allocator = allocator;
    source->log = config->log;
    source->size_bytes = size_bytes;
    texts = (char *)(source + 1);
    source->root = keep(&texts, config->root);
    source->systemd = keep(&texts, config->watch);
    source->option = keep(&texts, option);
    wish_for(source, config->stall_ns, config->window_ns);
    source->watch.fd = -1;
    stop_watching(source);
    decode_message(source, config->write);
    rc = find_group(source, &source->group);
    if (rc == 0)
        rc = pressure_settle(source, PRESSURE_OPTION);
    if (rc < 0) {
        pressure_source_close(source);
        return rc;
    }
    *out = source;
    return 0;
}

void pressure_source_tune(struct pressure_source *source, uint64_t stall_ns, uint64_t window_ns)
{
    wish_for(source, stall_ns, window_ns);
    /* Who sends messages has its own idea of pressure, and would miss us meanwhile. */
    if (source->watch.way != PRESSURE_TRIGGER && source->watch.way != PRESSURE_POLLED)
        return;
    stop_watching(source);
    source->fallback = false;
    source->why[0] = '\0';
    (void)pressure_settle(source, PRESSURE_OPTION); /* what fails passes: reading tries again */
}

void pressure_source_close(struct pressure_source *source)
{
    if (source == NULL)
        return;
    watch_close(&source->watch);
    allocator_release(source->allocator, source, source->size_bytes);
}

/* --- what it is ----------------------------------------------------------------------------- */

int pressure_source_fd(const struct pressure_source *source)
{
    return source->watch.fd;
}

short pressure_source_events(const struct pressure_source *source)
{
    const struct watch *watch = &source->watch;

    if (watch->way == PRESSURE_TRIGGER)
        return POLLPRI;
    if (watch->way != PRESSURE_MESSAGES)
        return 0;
    return watch->sent < watch->wish->message_len ? POLLIN | POLLOUT : POLLIN;
}

uint64_t pressure_source_interval_ns(const struct pressure_source *source)
{
    uint64_t half_ns;

    /* It could not be opened, for a reason that passes. */
    if (!source->settled || (source->watch.way == PRESSURE_MESSAGES && source->watch.fd < 0))
        return INTERVAL_MAX_NS;
    if (source->watch.way != PRESSURE_POLLED)
        return 0;
    half_ns = source->gauge.window_ns / 2;
    if (half_ns > INTERVAL_MAX_NS)
        return INTERVAL_MAX_NS;
    return half_ns < INTERVAL_MIN_NS ? INTERVAL_MIN_NS : half_ns;
}

enum pressure_kind pressure_source_kind(const struct pressure_source *source)
{
    return source->settled ? source->kind : PRESSURE_OFF;
}

enum pressure_way pressure_source_way(const struct pressure_source *source)
{
    return source->watch.way;
}

const char *pressure_source_name(const struct pressure_source *source)
{
    return names[pressure_source_kind(source)];
}

const char *pressure_source_path(const struct pressure_source *source)
{
    return source->watch.way == PRESSURE_NONE ? "" : source->shown;
}

const char *pressure_source_why(const struct pressure_source *source)
{
    return source->why;
}

bool pressure_source_is_fallback(const struct pressure_source *source)
{
    return source->fallback;
}

uint64_t pressure_source_stall_ns(const struct pressure_source *source)
{
    return source->watch.armed.stall_us * NS_PER_US;
}

uint64_t pressure_source_window_ns(const struct pressure_source *source)
{
    return source->watch.armed.window_us * NS_PER_US;
}
