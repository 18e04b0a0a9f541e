/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "fault_script.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_RULES = 64, MAX_FILES = 64, MAX_LIMITS = 32, PATH_BYTES = 512 };
enum { PAGE_BYTES = 4096 };

struct file {
    char path[PATH_BYTES];
    bool prefix;
    int err; /* 0: open finds `text` */
    char *text;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* All guarded by lock. */
static struct {
    struct rule rules[MAX_RULES];
    unsigned rule_count;
    struct file files[MAX_FILES];
    unsigned file_count;
    uint64_t calls[FAULT_KINDS];
    struct fault_args last[FAULT_KINDS];
    void (*hooks[FAULT_KINDS])(void *context);
    void *hook_contexts[FAULT_KINDS];
    struct os_fs fs;
    struct os_dio dio;
    bool fs_set, dio_set, node_set, clock_set;
    int node;
    unsigned processors; /* 0: as there are */
    struct {
        int resource;
        uint64_t soft;
    } limits[MAX_LIMITS];
    unsigned limit_count;
    uint64_t clock_ns;
} script;
static int64_t open_fds, mapped_bytes; /* guarded by lock; not part of what fault_clear() clears */

static void give_up(const char *why)
{
    fprintf(stderr, "fault: %s\n", why);
    abort();
}

static bool argument_matches(const struct rule *rule, unsigned long argument)
{
    if (!rule->matches_argument)
        return true;
    switch (rule->kind) {
    case FAULT_OPEN:
    case FAULT_MKOSTEMP:
    case FAULT_MEMFD_CREATE:
    case FAULT_MAP:
    case FAULT_EVENTFD:
    case FAULT_PIPE:
        return (argument & rule->argument) == rule->argument;
    default:
        return argument == rule->argument;
    }
}

struct rule script_call(enum fault kind, struct fault_args args)
{
    struct rule found = {.effect = EFFECT_NONE};
    void (*hook)(void *context);
    void *context;
    unsigned i;

    pthread_mutex_lock(&lock);
    script.calls[kind]++;
    script.last[kind] = args;
    for (i = 0; i < script.rule_count; i++) {
        struct rule *rule = &script.rules[i];

        if (rule->kind != kind || !argument_matches(rule, args.argument))
            continue;
        if (rule->after > 0) {
            rule->after--;
        } else if (rule->times > 0 && found.effect == EFFECT_NONE) {
            found = *rule;
            if (rule->times != FAULT_ALWAYS)
                rule->times--;
        }
    }
    hook = script.hooks[kind];
    context = script.hook_contexts[kind];
    pthread_mutex_unlock(&lock);
    if (hook != NULL)
        hook(context);
    return found;
}

int script_count_fd(int fd)
{
    pthread_mutex_lock(&lock);
    open_fds += fd >= 0;
    pthread_mutex_unlock(&lock);
    return fd;
}

void script_count_close(void)
{
    pthread_mutex_lock(&lock);
    open_fds--;
    pthread_mutex_unlock(&lock);
}

void script_count_map(size_t len, int sign)
{
    int64_t whole = (int64_t)((len + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES);

    pthread_mutex_lock(&lock);
    mapped_bytes += sign * whole;
    pthread_mutex_unlock(&lock);
}

static int text_open(const char *text)
{
    int fd = os_linux.memfd_create("fault_file", MFD_CLOEXEC);

    if (fd < 0)
        return fd;
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text) || lseek(fd, 0, SEEK_SET) != 0)
        give_up("a scripted file could not be written");
    return fd;
}

/* The newest entry for a path wins. */
bool script_path(const char *path, int *result)
{
    bool found = false;
    unsigned i;

    pthread_mutex_lock(&lock);
    for (i = script.file_count; i-- > 0 && !found;) {
        const struct file *file = &script.files[i];

        if (file->prefix ? strncmp(path, file->path, strlen(file->path)) != 0
                         : strcmp(path, file->path) != 0)
            continue;
        *result = file->err != 0 ? file->err : text_open(file->text);
        found = true;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

bool script_clock(uint64_t *ns)
{
    bool set;

    pthread_mutex_lock(&lock);
    set = script.clock_set;
    if (set)
        *ns = script.clock_ns;
    pthread_mutex_unlock(&lock);
    return set;
}

bool script_fs(struct os_fs *out)
{
    bool set;

    pthread_mutex_lock(&lock);
    set = script.fs_set;
    if (set)
        *out = script.fs;
    pthread_mutex_unlock(&lock);
    return set;
}

bool script_dio(struct os_dio *out)
{
    bool set;

    pthread_mutex_lock(&lock);
    set = script.dio_set;
    if (set)
        *out = script.dio;
    pthread_mutex_unlock(&lock);
    return set;
}

bool script_processors(unsigned *count)
{
    pthread_mutex_lock(&lock);
    *count = script.processors;
    pthread_mutex_unlock(&lock);
    return *count > 0;
}

bool script_node(int *node)
{
    bool set;

    pthread_mutex_lock(&lock);
    set = script.node_set;
    if (set)
        *node = script.node;
    pthread_mutex_unlock(&lock);
    return set;
}

bool script_limit(int resource, uint64_t *soft)
{
    bool found = false;
    unsigned i;

    pthread_mutex_lock(&lock);
    for (i = 0; i < script.limit_count; i++) {
        if (script.limits[i].resource == resource) {
            *soft = script.limits[i].soft;
            found = true;
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

void fault_clear(void)
{
    unsigned i;

    pthread_mutex_lock(&lock);
    for (i = 0; i < script.file_count; i++)
        free(script.files[i].text);
    memset(&script, 0, sizeof(script));
    pthread_mutex_unlock(&lock);
    fault_alloc_after(0);
}

void fault_heal(enum fault kind)
{
    unsigned i, kept = 0;

    pthread_mutex_lock(&lock);
    for (i = 0; i < script.rule_count; i++) {
        if (script.rules[i].kind != kind)
            script.rules[kept++] = script.rules[i];
    }
    script.rule_count = kept;
    pthread_mutex_unlock(&lock);
}

static void add_rule(const struct rule *rule)
{
    pthread_mutex_lock(&lock);
    if (script.rule_count == MAX_RULES)
        give_up("too many rules");
    script.rules[script.rule_count++] = *rule;
    pthread_mutex_unlock(&lock);
}

void fault_fail(enum fault kind, uint32_t after, uint32_t times, int err)
{
    struct rule rule = {
        .kind = kind, .effect = EFFECT_FAIL, .after = after, .times = times, .err = err};

    add_rule(&rule);
}

void fault_fail_when(enum fault kind, unsigned long argument, uint32_t after, uint32_t times,
                     int err)
{
    struct rule rule = {.kind = kind,
                        .effect = EFFECT_FAIL,
                        .matches_argument = true,
                        .argument = argument,
                        .after = after,
                        .times = times,
                        .err = err};

    add_rule(&rule);
}

void fault_short(enum fault kind, uint32_t after, uint32_t times, size_t max_bytes)
{
    struct rule rule = {.kind = kind,
                        .effect = EFFECT_SHORT,
                        .after = after,
                        .times = times,
                        .max_bytes = max_bytes};

    add_rule(&rule);
}

void fault_corrupt(enum fault kind, uint32_t after, uint32_t times)
{
    struct rule rule = {.kind = kind, .effect = EFFECT_CORRUPT, .after = after, .times = times};

    add_rule(&rule);
}

uint64_t fault_calls(enum fault kind)
{
    uint64_t calls;

    pthread_mutex_lock(&lock);
    calls = script.calls[kind];
    pthread_mutex_unlock(&lock);
    return calls;
}

struct fault_args fault_last(enum fault kind)
{
    struct fault_args args;

    pthread_mutex_lock(&lock);
    args = script.last[kind];
    pthread_mutex_unlock(&lock);
    return args;
}

void fault_hook(enum fault kind, void (*hook)(void *context), void *context)
{
    pthread_mutex_lock(&lock);
    script.hooks[kind] = hook;
    script.hook_contexts[kind] = context;
    pthread_mutex_unlock(&lock);
}

static void add_file(const char *path, bool prefix, int err, const char *text)
{
    struct file *file;

    pthread_mutex_lock(&lock);
    if (script.file_count == MAX_FILES || strlen(path) >= PATH_BYTES)
        give_up("too many scripted files, or a path too long");
    file = &script.files[script.file_count];
    memset(file, 0, sizeof(*file));
    memcpy(file->path, path, strlen(path) + 1);
    file->prefix = prefix;
    file->err = err;
    if (text != NULL) {
        file->text = strdup(text);
        if (file->text == NULL)
            give_up("no memory");
    }
    script.file_count++;
    pthread_mutex_unlock(&lock);
}

void fault_file(const char *path, const char *text)
{
    add_file(path, false, text == NULL ? -ENOENT : 0, text);
}

void fault_path_fail(const char *prefix, int err)
{
    add_file(prefix, true, err, NULL);
}

void fault_fs(const struct os_fs *fs)
{
    pthread_mutex_lock(&lock);
    script.fs_set = fs != NULL;
    if (fs != NULL)
        script.fs = *fs;
    pthread_mutex_unlock(&lock);
}

void fault_dio(const struct os_dio *dio)
{
    pthread_mutex_lock(&lock);
    script.dio_set = dio != NULL;
    if (dio != NULL)
        script.dio = *dio;
    pthread_mutex_unlock(&lock);
}

void fault_limit(int resource, uint64_t soft)
{
    pthread_mutex_lock(&lock);
    if (script.limit_count == MAX_LIMITS)
        give_up("too many limits");
    script.limits[script.limit_count].resource = resource;
    script.limits[script.limit_count++].soft = soft;
    pthread_mutex_unlock(&lock);
}

void fault_processors(unsigned count)
{
    pthread_mutex_lock(&lock);
    script.processors = count;
    pthread_mutex_unlock(&lock);
}

void fault_node(int node)
{
    pthread_mutex_lock(&lock);
    script.node_set = node >= 0;
    script.node = node;
    pthread_mutex_unlock(&lock);
}

void fault_clock_set(uint64_t ns)
{
    pthread_mutex_lock(&lock);
    script.clock_set = true;
    script.clock_ns = ns;
    pthread_mutex_unlock(&lock);
}

void fault_clock_advance(uint64_t ns)
{
    pthread_mutex_lock(&lock);
    script.clock_ns += ns;
    pthread_mutex_unlock(&lock);
}

void fault_clock_real(void)
{
    pthread_mutex_lock(&lock);
    script.clock_set = false;
    pthread_mutex_unlock(&lock);
}

int64_t fault_open_fds(void)
{
    int64_t n;

    pthread_mutex_lock(&lock);
    n = open_fds;
    pthread_mutex_unlock(&lock);
    return n;
}

int64_t fault_mapped_bytes(void)
{
    int64_t n;

    pthread_mutex_lock(&lock);
    n = mapped_bytes;
    pthread_mutex_unlock(&lock);
    return n;
}
