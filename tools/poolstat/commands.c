/* SPDX-License-Identifier: MIT */
#include "show.h"

const struct poolstat_command poolstat_commands[] = {
    {NULL, "what all pools do",
     "Without a command poolstat tells of each pool in a few lines; with an interval, or with "
     "--columns, it writes a line for each.",
     show_pools, false, NULL, false},
    {"queues", "the queues of each pool, the largest first",
     "A pool lists 1024 of its queues; how many have no row is said at the end. With --json it is "
     "what the whole document has under the same name.",
     show_queues, false, NULL, false},
    {"why", "the last decisions over all queues of each pool, in words",
     "A pool keeps 64 of them: who decided, what, and with which figures; the newest comes last.",
     show_why, false, NULL, false},
    {"config", "each setting: its value, its default, where the value came from, what it does",
     "A value that is longer than 495 bytes ends in dots. A value from \"control\" was set by "
     "poolstat "
     "set, one from \"call\" by the service; how long ago is said where that was while the pool "
     "was "
     "open.",
     show_config, false, NULL, false},
    {"set", "changes settings of a pool that is open: NAME=VALUE...",
     "As variables have them, without SPILLWAY_ and in small letters (memory=2GiB), or by their "
     "whole "
     "name. The pool judges each for itself and says what it was before; spillway(7) marks the "
     "ones that can be changed. The service has to allow it, by SPILLWAY_CONTROL=on, and it takes "
     "its own user or root. --pool says which pools are meant, unless there is only one. What is "
     "not answered in the time that --wait gives does not happen later either.",
     show_set, false, "NAME=VALUE...", true},
    {"doctor", "whether this host and this user have what pools need, and how to mend what is not",
     "Behind it, names of checks: only those. A line for each thing says whether it is fine (ok), "
     "done without (falls back) or missing (broken), what happens then, and the command that mends "
     "it. Settings count as they are in this environment: run it as the service's user, where "
     "and how the service is started.",
     show_doctor, true, "CHECK...", false},
    {.help = NULL},
};

int show_pools(const struct args *args)
{
    if (args->check_count > 0)
        return show_check(args);
    if (args->watch)
        return show_watch(args);
    if (args->json)
        return show_json(args);
    if (args->prometheus || args->textfile != NULL)
        return show_prometheus(args);
    if (args->diff)
        return show_diff(args);
    if (args->interval_ns > 0 || args->columns != NULL)
        return show_lines(args);
    return show_summary(args);
}
