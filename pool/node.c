/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "node.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(SPILLWAY_HAVE_NUMA) && SPILLWAY_HAVE_NUMA == 1
#include <numa.h>
#define HAVE_LIBNUMA 1
#else
#define HAVE_LIBNUMA 0
#endif

/* A node's meminfo has about 40 lines, its distances four characters a node, status 60 lines. */
enum { FILE_BYTES = 8192, PATH_BYTES = 1024 };

static const char nodes_directory[] = "/sys/devices/system/node";

bool node_has(const struct node_set *set, unsigned node)
{
    return node < NODE_MAX &&
           (set->words[node / NODE_WORD_BITS] >> (node % NODE_WORD_BITS) & 1) != 0;
}

void node_add(struct node_set *set, unsigned node)
{
    if (node < NODE_MAX)
        set->words[node / NODE_WORD_BITS] |= 1UL << (node % NODE_WORD_BITS);
}

unsigned node_count(const struct node_set *set)
{
    unsigned i, count = 0;

    for (i = 0; i < NODE_WORDS; i++)
        count += (unsigned)__builtin_popcountl(set->words[i]);
    return count;
}

int node_first(const struct node_set *set)
{
    unsigned i;

    for (i = 0; i < NODE_WORDS; i++) {
        if (set->words[i] != 0)
            return (int)(i * NODE_WORD_BITS) + __builtin_ctzl(set->words[i]);
    }
    return -1;
}

static void set_intersect(struct node_set *set, const struct node_set *with)
{
    unsigned i;

    for (i = 0; i < NODE_WORDS; i++)
        set->words[i] &= with->words[i];
}

static bool set_is_equal(const struct node_set *a, const struct node_set *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static void set_all(struct node_set *set)
{
    memset(set, 0xff, sizeof(*set));
}

/* --- lists ---------------------------------------------------------------------------------- */

static bool parse_node(const char **text, unsigned *out)
{
    const char *p = *text;
    unsigned value = 0;

    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (unsigned)(*p - '0');
        if (value >= NODE_MAX)
            return false;
    }
    *text = p;
    *out = value;
    return true;
}

/* "0-1,3" up to the end or a newline; at least one node. */
static bool parse_list(const char *text, struct node_set *out)
{
    unsigned first, last;

    memset(out, 0, sizeof(*out));
    for (;;) {
        if (!parse_node(&text, &first))
            return false;
        last = first;
        if (*text == '-') {
            text++;
            if (!parse_node(&text, &last) || last < first)
                return false;
        }
        for (; first <= last; first++)
            node_add(out, first);
        if (*text == '\0' || *text == '\n')
            return true;
        if (*text++ != ',')
            return false;
    }
}

/* --- the machine ---------------------------------------------------------------------------- */

static long read_node_file(const struct os *os, const char *root, const char *name,
                           char text[FILE_BYTES])
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof(path), "%s%s/%s", root, nodes_directory, name);

    if (n < 0 || n >= PATH_BYTES)
        return -ENAMETOOLONG;
    return os_read_file(os, path, text, FILE_BYTES);
}

static bool read_node_list(const struct os *os, const char *root, const char *name,
                           struct node_set *out)
{
    char text[FILE_BYTES];

    return read_node_file(os, root, name, text) > 0 && parse_list(text, out);
}

/* The cpuset, as the kernel applies it: it cuts a policy's mask down without a word. */
static void read_allowed(const struct os *os, const char *root, struct node_set *out)
{
    static const char key[] = "\nMems_allowed_list:";
    char text[FILE_BYTES], path[PATH_BYTES];
    const char *line;
    int n = snprintf(path, sizeof(path), "%s/proc/self/status", root);

    set_all(out);
    if (n < 0 || n >= PATH_BYTES || os_read_file(os, path, text, sizeof(text)) <= 0)
        return;
    line = strstr(text, key);
    if (line == NULL)
        return;
    line += sizeof(key) - 1;
    line += strspn(line, " \t");
    if (!parse_list(line, out))
        set_all(out);
}

int node_of_thread(void)
{
    unsigned cpu, node;

    return getcpu(&cpu, &node) == 0 && node < NODE_MAX ? (int)node : -1;
}

static int current_node(const struct node_map *map)
{
    int node = node_of_thread();

    return node >= 0 && node_has(&map->cpu, (unsigned)node) ? node : node_first(&map->cpu);
}

/* The kernel lists distances by online node, not by number. */
static void read_distances(const struct os *os, const char *root, struct node_map *map)
{
    char text[FILE_BYTES], name[64];
    struct node_set online;
    const char *p = text;
    unsigned node;

    (void)snprintf(name, sizeof(name), "node%d/distance", map->current);
    if (!read_node_list(os, root, "online", &online) || read_node_file(os, root, name, text) <= 0)
        return;
    for (node = 0; node < NODE_MAX; node++) {
        char *end;
        unsigned long value;

        if (!node_has(&online, node))
            continue;
        value = strtoul(p, &end, 10);
        if (end == p || value > UINT16_MAX)
            return;
        map->distance[node] = (uint16_t)value;
        p = end;
    }
}

#if HAVE_LIBNUMA
/* Where libnuma can tell, its word stands; it says 0 for what it does not know. */
static int ask_libnuma(const char *root, struct node_map *map)
{
    unsigned node;
    int distance;

    if (root[0] != '\0')
        return 0;
    if (numa_available() < 0)
        return -ENOSYS;
    for (node = 0; node < NODE_MAX; node++) {
        if (!node_has(&map->memory, node))
            continue;
        distance = numa_distance(map->current, (int)node);
        if (distance > 0 && distance <= UINT16_MAX)
            map->distance[node] = (uint16_t)distance;
    }
    return 0;
}
#else
static int ask_libnuma(const char *root, struct node_map *map)
{
    (void)root;
    (void)map;
    return 0;
}
#endif

int node_map_read(const struct os *os, const char *root, int current, struct node_map *out)
{
    memset(out, 0, sizeof(*out));
    if (!read_node_list(os, root, "has_memory", &out->memory) &&
        !read_node_list(os, root, "online", &out->memory)) {
        memset(&out->memory, 0, sizeof(out->memory));
        node_add(&out->memory, 0);
    }
    if (!read_node_list(os, root, "has_cpu", &out->cpu)) {
        memset(&out->cpu, 0, sizeof(out->cpu));
        node_add(&out->cpu, 0);
    }
    read_allowed(os, root, &out->allowed);
    out->current = current >= 0 ? current : current_node(out);
    read_distances(os, root, out);
    return ask_libnuma(root, out);
}

/* --- what a list asks for ------------------------------------------------------------------- */

static void choose_far(const struct node_map *map, struct node_set *out)
{
    uint16_t farthest = 0;
    unsigned node;

    for (node = 0; node < NODE_MAX; node++) {
        if (!node_has(&map->memory, node) || !node_has(&map->allowed, node) ||
            (int)node == map->current)
            continue;
        if (map->distance[node] > farthest) {
            farthest = map->distance[node];
            memset(out, 0, sizeof(*out));
        }
        if (map->distance[node] == farthest)
            node_add(out, node);
    }
}

static void choose_cpuless(const struct node_map *map, struct node_set *out)
{
    unsigned i;

    for (i = 0; i < NODE_WORDS; i++)
        out->words[i] = map->memory.words[i] & ~map->cpu.words[i];
}

/* "+n" is the n-th of the nodes that are allowed here. */
static bool make_absolute(const struct node_set *usable, struct node_set *set)
{
    struct node_set absolute;
    unsigned node, index = 0;
    unsigned wanted = node_count(set);

    memset(&absolute, 0, sizeof(absolute));
    for (node = 0; node < NODE_MAX; node++) {
        if (node_has(usable, node) && node_has(set, index++))
            node_add(&absolute, node);
    }
    *set = absolute;
    return node_count(set) == wanted;
}

int node_choose(const struct node_map *map, const char *text, struct node_choice *out)
{
    struct node_set usable = map->memory, wanted;
    bool relative, inverse;
    unsigned i;

    memset(out, 0, sizeof(*out));
    memset(&wanted, 0, sizeof(wanted));
    set_intersect(&usable, &map->allowed);
    if (strcmp(text, "local") == 0) {
        out->local = true;
        return 0;
    }
    if (strcmp(text, "all") == 0) {
        wanted = usable;
    } else if (strcmp(text, "far") == 0) {
        choose_far(map, &wanted);
    } else if (strcmp(text, "cpuless") == 0) {
        choose_cpuless(map, &wanted);
    } else {
        inverse = *text == '!';
        text += inverse;
        relative = *text == '+';
        text += relative;
        if (strchr(text, '\n') != NULL || !parse_list(text, &wanted))
            return -EINVAL;
        if (relative && !make_absolute(&usable, &wanted))
            out->incomplete = true;
        for (i = 0; inverse && i < NODE_WORDS; i++)
            wanted.words[i] = usable.words[i] & ~wanted.words[i];
    }
    out->set = wanted;
    set_intersect(&out->set, &usable);
    out->incomplete = out->incomplete || !set_is_equal(&out->set, &wanted);
    if (node_first(&out->set) < 0)
        out->local = out->incomplete = true;
    return 0;
}

/* --- free memory ---------------------------------------------------------------------------- */

/* "Node 0 MemFree:       20479360 kB" */
static bool meminfo_bytes(const char *text, const char *key, uint64_t *out)
{
    const char *p = strstr(text, key);
    char *end;

    if (p == NULL)
        return false;
    p += strlen(key);
    *out = strtoull(p, &end, 10);
    if (end == p || *out > UINT64_MAX / 4096)
        return false;
    *out *= 1024;
    return true;
}

void node_free_bytes(const struct os *os, const char *root, const struct node_set *set,
                     uint64_t *free_bytes, uint64_t *available_bytes)
{
    char text[FILE_BYTES], name[64];
    uint64_t free_here, inactive, dirty;
    unsigned node;

    *free_bytes = *available_bytes = 0;
    for (node = 0; node < NODE_MAX; node++) {
        if (!node_has(set, node))
            continue;
        (void)snprintf(name, sizeof(name), "node%u/meminfo", node);
        if (read_node_file(os, root, name, text) <= 0 ||
            !meminfo_bytes(text, " MemFree:", &free_here)) {
            *free_bytes = *available_bytes = NODE_UNKNOWN_BYTES;
            return;
        }
        inactive = dirty = 0;
        (void)meminfo_bytes(text, " Inactive(file):", &inactive);
        (void)meminfo_bytes(text, " Dirty:", &dirty);
        *free_bytes += free_here;
        *available_bytes += free_here + (inactive > dirty ? inactive - dirty : 0);
    }
}
