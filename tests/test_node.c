/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../pool/node.h"
#include "fault.h"
#include "harness.h"

#define KIB UINT64_C(1024)

static struct node_map map;
static struct node_choice choice;

static void put(const char *path, const char *text)
{
    char full[200];

    (void)snprintf(full, sizeof(full), "/fx%s", path);
    fault_file(full, text);
}

/* Nodes 0 and 2 with processors, 5 and 7 with memory only, 9 with processors only. */
static void put_machine(void)
{
    fault_path_fail("/fx", -ENOENT);
    put("/sys/devices/system/node/online", "0,2,5,7,9\n");
    put("/sys/devices/system/node/has_memory", "0,2,5,7\n");
    put("/sys/devices/system/node/has_cpu", "0,2,9\n");
    put("/sys/devices/system/node/node0/distance", "10 21 17 28 30\n");
    put("/sys/devices/system/node/node2/distance", "21 10 28 28 30\n");
    put("/proc/self/status", "Name:\tx\nMems_allowed:\tff\nMems_allowed_list:\t0-9\n");
}

static void read_machine(int current)
{
    cr_assert_eq(node_map_read(&fault_os, "/fx", current, &map), 0);
    cr_assert_eq(fault_open_fds(), 0);
}

/* The chosen nodes as text, such as "0,2 incomplete". */
static const char *chosen(const char *text)
{
    static char out[4096];
    size_t len = 0;
    unsigned node;
    int rc = node_choose(&map, text, &choice);

    if (rc == -EINVAL)
        return "refused";
    cr_assert_eq(rc, 0);
    out[0] = '\0';
    for (node = 0; node < NODE_MAX; node++) {
        if (node_has(&choice.set, node))
            len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%u", len > 0 ? "," : "", node);
    }
    (void)snprintf(out + len, sizeof(out) - len, "%s%s", choice.local ? "local" : "",
                   choice.incomplete ? " incomplete" : "");
    return out;
}

Test(node, sets)
{
    struct node_set set;

    memset(&set, 0, sizeof(set));
    cr_assert_eq(node_first(&set), -1);
    node_add(&set, 1023);
    node_add(&set, 64);
    node_add(&set, 1024); /* past the end: nothing happens */
    cr_assert_eq(node_first(&set), 64);
    cr_assert_eq(node_count(&set), 2);
    cr_assert(node_has(&set, 1023));
    cr_assert_not(node_has(&set, 1024));
    cr_assert_not(node_has(&set, 63));
}

Test(node, map_of_a_machine_with_gaps)
{
    put_machine();
    read_machine(0);
    cr_assert_eq(node_count(&map.memory), 4);
    cr_assert_eq(map.distance[0], 10);
    cr_assert_eq(map.distance[2], 21);
    cr_assert_eq(map.distance[5], 17);
    cr_assert_eq(map.distance[7], 28);
    cr_assert_eq(map.distance[9], 30);
    cr_assert_eq(map.distance[1], 0);
}

Test(node, words)
{
    put_machine();
    read_machine(0);
    cr_assert_str_eq(chosen("local"), "local");
    cr_assert_str_eq(chosen("all"), "0,2,5,7");
    cr_assert_str_eq(chosen("far"), "7");
    cr_assert_str_eq(chosen("cpuless"), "5,7");
    read_machine(2);
    cr_assert_str_eq(chosen("far"), "5,7");
}

Test(node, lists)
{
    put_machine();
    read_machine(0);
    cr_assert_str_eq(chosen("2"), "2");
    cr_assert_str_eq(chosen("0,5-5,7"), "0,5,7");
    cr_assert_str_eq(chosen("0-2"), "0,2 incomplete");
    cr_assert_str_eq(chosen("1,3"), "local incomplete");
    cr_assert_str_eq(chosen("9"), "local incomplete"); /* it has no memory */
    cr_assert_str_eq(chosen("1023"), "local incomplete");
    cr_assert_str_eq(chosen("!0"), "2,5,7");
    cr_assert_str_eq(chosen("!0-9"), "local incomplete");
    cr_assert_str_eq(chosen("+0"), "0");
    cr_assert_str_eq(chosen("+1-2"), "2,5");
    cr_assert_str_eq(chosen("+4"), "local incomplete");
    cr_assert_str_eq(chosen("+3-4"), "7 incomplete");
    cr_assert_str_eq(chosen("!+1"), "0,5,7");
}

Test(node, junk_is_refused)
{
    static const char *const junk[] = {"",     " ",    "x",    "0x1",    "1,",          ",1",
                                       "1-",   "-1",   "2-1",  "1 ",     " 1",          "1;2",
                                       "1,,2", "1--2", "1024", "0-1024", "99999999999", "farther",
                                       "!",    "+",    "+!0",  "1\n",    "all,0"};
    size_t i;

    put_machine();
    read_machine(0);
    for (i = 0; i < sizeof(junk) / sizeof(junk[0]); i++)
        cr_assert_str_eq(chosen(junk[i]), "refused", "\"%s\"", junk[i]);
}

Test(node, cpuset_cuts_down)
{
    put_machine();
    put("/proc/self/status", "Name:\tx\nMems_allowed_list:\t0,5\nthe rest\n");
    read_machine(0);
    cr_assert_str_eq(chosen("all"), "0,5");
    cr_assert_str_eq(chosen("far"), "5");
    cr_assert_str_eq(chosen("cpuless"), "5 incomplete");
    cr_assert_str_eq(chosen("2"), "local incomplete");
    cr_assert_str_eq(chosen("+1"), "5");
}

Test(node, unreadable_status_allows_everything)
{
    put_machine();
    put("/proc/self/status", NULL);
    read_machine(0);
    cr_assert_str_eq(chosen("all"), "0,2,5,7");
    put("/proc/self/status", "Mems_allowed_list is missing\n");
    read_machine(0);
    cr_assert_str_eq(chosen("all"), "0,2,5,7");
    put("/proc/self/status", "Name:\tx\nMems_allowed_list:\tjunk\n");
    read_machine(0);
    cr_assert_str_eq(chosen("all"), "0,2,5,7");
}

Test(node, one_node)
{
    fault_path_fail("/fx", -ENOENT);
    put("/sys/devices/system/node/online", "0\n");
    put("/sys/devices/system/node/has_memory", "0\n");
    put("/sys/devices/system/node/has_cpu", "0\n");
    put("/sys/devices/system/node/node0/distance", "10\n");
    read_machine(0);
    cr_assert_str_eq(chosen("far"), "local incomplete");
    cr_assert_str_eq(chosen("cpuless"), "local incomplete");
    cr_assert_str_eq(chosen("0"), "0");
    cr_assert_str_eq(chosen("1"), "local incomplete");
}

Test(node, machine_that_tells_nothing)
{
    fault_path_fail("/fx", -ENOENT);
    read_machine(-1);
    cr_assert_eq(map.current, 0);
    cr_assert_str_eq(chosen("all"), "0");
    cr_assert_str_eq(chosen("far"), "local incomplete");
}

Test(node, malformed_lists_count_as_missing)
{
    put_machine();
    put("/sys/devices/system/node/has_memory", "0-x\n");
    put("/sys/devices/system/node/has_cpu", "\n");
    put("/sys/devices/system/node/node0/distance", "10 far\n");
    read_machine(0);
    cr_assert_eq(node_count(&map.memory), 5); /* those that are online */
    cr_assert_str_eq(chosen("cpuless"), "2,5,7,9");
    cr_assert_eq(map.distance[0], 10);
    cr_assert_eq(map.distance[2], 0);
    cr_assert_str_eq(chosen("far"), "2,5,7,9"); /* unknown distances are all the same */
}

Test(node, free_memory_is_added_up)
{
    struct node_set set;
    uint64_t free_bytes, available;

    memset(&set, 0, sizeof(set));
    node_add(&set, 0);
    node_add(&set, 2);
    fault_path_fail("/fx", -ENOENT);
    put("/sys/devices/system/node/node0/meminfo",
        "Node 0 MemTotal:       1000 kB\nNode 0 MemFree:        100 kB\n"
        "Node 0 Inactive(file):    40 kB\nNode 0 Dirty:  10 kB\n");
    node_free_bytes(&fault_os, "/fx", &set, &free_bytes, &available);
    cr_assert_eq(free_bytes, NODE_UNKNOWN_BYTES);
    cr_assert_eq(available, NODE_UNKNOWN_BYTES);
    put("/sys/devices/system/node/node2/meminfo",
        "Node 2 MemFree:  7 kB\nNode 2 Inactive(file): 5 kB\nNode 2 Dirty: 9 kB\n");
    node_free_bytes(&fault_os, "/fx", &set, &free_bytes, &available);
    cr_assert_eq(free_bytes, 107 * KIB);
    cr_assert_eq(available, 137 * KIB);
    put("/sys/devices/system/node/node2/meminfo", "Node 2 MemFree:  99999999999999999999 kB\n");
    node_free_bytes(&fault_os, "/fx", &set, &free_bytes, &available);
    cr_assert_eq(free_bytes, NODE_UNKNOWN_BYTES);
    cr_assert_eq(fault_open_fds(), 0);
}

Test(node, this_machine)
{
    uint64_t free_bytes, available;
    int rc = node_map_read(&os_linux, "", -1, &map);

    if (rc == -ENOSYS)
        test_skip("this kernel has no NUMA calls");
    cr_assert_eq(rc, 0);
    cr_assert_geq(map.current, 0);
    cr_assert(node_has(&map.cpu, (unsigned)map.current));
    cr_assert_eq(node_choose(&map, "all", &choice), 0);
    cr_assert_not(choice.local);
    cr_assert_not(choice.incomplete);
    node_free_bytes(&os_linux, "", &choice.set, &free_bytes, &available);
    cr_assert_neq(free_bytes, NODE_UNKNOWN_BYTES);
    cr_assert_gt(free_bytes, 0);
    cr_assert_geq(available, free_bytes);
}
