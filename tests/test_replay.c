/* SPDX-License-Identifier: MIT */
/*
 * Pressure as it was recorded on real machines (tests/traces/NAME.trace, by
 * tests/record_traces.sh), played to the pressure policy through the seam, with a clock that the
 * test moves: it decides the same each time, word by word. What it should decide is in
 * NAME.decisions; `make traces` writes those anew.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../policies/pressure.h"
#include "fault.h"
#include "harness.h"
#include "pressure_tools.h"
#include "regulator_tools.h"

#define MIB UINT64_C(1048576)

enum { FILE_BYTES = 4096, TEXT_BYTES = 1 << 17 };

/* ---- a trace ---- */

/* One reading: the time, whether a trigger fired, and the files as they were. */
struct reading {
    uint64_t at_ns;
    bool event;
    char memory[FILE_BYTES], io[FILE_BYTES], events[FILE_BYTES];
};

static FILE *trace_open(const char *name, const char *ending, const char *mode)
{
    char path[256];
    snprintf(path, sizeof(path), "tests/traces/%s.%s", name, ending);
    FILE *file = fopen(path, mode);
    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
    return file;
}

static void add_line(char text[FILE_BYTES], const char *line)
{
    cr_assert_lt(strlen(text) + strlen(line), FILE_BYTES);
    strcat(text, line);
}

/* Reads the next one; `*line` is the one behind it. False at the end. */
static bool trace_next(FILE *file, char line[256], struct reading *out)
{
    unsigned long long ms;
    while (line[0] != '@')
        if (!fgets(line, 256, file))
            return false;
    *out = (struct reading){.event = strstr(line, "event") != NULL};
    cr_assert_eq(sscanf(line, "@ %llu", &ms), 1);
    out->at_ns = ms * MS_NS;
    line[0] = '\0';
    while (fgets(line, 256, file) && line[0] != '@') {
        cr_assert(line[0] == '#' || line[1] == ' ', "%s", line);
        if (line[0] == 'm')
            add_line(out->memory, line + 2);
        else if (line[0] == 'i')
            add_line(out->io, line + 2);
        else if (line[0] == 'e')
            add_line(out->events, line + 2);
        line[0] = '\0';
    }
    return true;
}

/* ---- a policy that it is played to ---- */

struct player {
    spw_regulator *regulator;
    struct figures figures;
    uint64_t begin_ns, event_ns; /* of the last event that lowered or kept it low */
    bool waiting;                /* for the use to fit, since then */
};

static void put_files(const struct reading *reading)
{
    rig_put(RIG_GROUP_V2 "/memory.pressure", reading->memory);
    rig_put(RIG_GROUP_V2 "/io.pressure", reading->io);
    if (reading->events[0])
        rig_put(RIG_GROUP_V2 "/memory.events", reading->events);
}

static void player_look(struct player *player, short reported)
{
    spw_outlook outlook = figures_outlook(&player->figures);
    spw_orders orders = figures_no_orders();
    outlook.reported[0] = reported;
    outlook.ready = reported != 0;
    uint64_t before = player->figures.budget_bytes;
    player->regulator->ops->apply(player->regulator, &outlook, &orders);
    figures_obey(&player->figures, &orders);
    cr_assert_geq(player->figures.budget_bytes, 128 * MIB);
    cr_assert_leq(player->figures.budget_bytes, 512 * MIB);
    if (player->figures.budget_bytes < before) {
        player->event_ns = player->figures.now_ns;
        player->waiting = true;
    }
}

/* Within a second of each lowering the use fits, if it can be brought down at all. */
static void player_check(struct player *player)
{
    const struct figures *figures = &player->figures;
    if (figures->used_bytes <= figures->budget_bytes)
        player->waiting = false;
    if (player->waiting)
        cr_assert_leq(figures->now_ns - player->event_ns, SECOND_NS, "too much is in use still");
}

/* Time passes up to then; the policy looks when it wants to. */
static void player_pass(struct player *player, uint64_t until_ns)
{
    struct figures *figures = &player->figures;
    for (;;) {
        uint64_t due_ns = figures_due_ns(figures);
        uint64_t to_ns = due_ns < until_ns ? due_ns : until_ns;
        if (to_ns > figures->now_ns) {
            fault_clock_advance(to_ns - figures->now_ns);
            figures_pass(figures, to_ns - figures->now_ns);
        }
        player_check(player);
        if (due_ns > until_ns)
            break;
        player_look(player, 0);
    }
}

/* Plays all of it; the decisions go to `text`. Returns how the policy left its pool. */
static struct figures play(const char *name, bool trigger, char text[TEXT_BYTES])
{
    static const int allowed[] = {0};
    struct player player = {.figures = figures_open(512 * MIB)};
    struct pressure_host host = {.os = &fault_os};
    struct reading reading;
    char line[256] = "";
    FILE *file = trace_open(name, "trace", "re");
    rig_begin();
    rig_pure_v2();
    host.root = rig.root;
    if (trigger)
        rig_kernel(allowed, 1);
    cr_assert(trace_next(file, line, &reading));
    put_files(&reading);
    cr_assert_eq(pressure_open_on(&host, NULL, &player.regulator), 0);
    player.figures.text = text;
    player.figures.text_bytes = TEXT_BYTES;
    player.figures.now_ns = player.figures.begin_ns = player.begin_ns = fault_os.clock_ns();
    player_look(&player, 0);
    /* Where the files are, which changes from run to run, is no decision. */
    player.figures.text_used = 0;
    while (trace_next(file, line, &reading)) {
        player_pass(&player, player.begin_ns + reading.at_ns);
        put_files(&reading);
        if (trigger && reading.event)
            player_look(&player, POLLPRI);
    }
    fclose(file);
    text[player.figures.text_used] = '\0';
    player.regulator->ops->close(player.regulator);
    rig_end();
    player.figures.text = NULL;
    return player.figures;
}

/* ---- what it decides ---- */

static void check_decisions(const char *name, const char *decisions)
{
    static char kept[2 * TEXT_BYTES];
    if (getenv("SPILLWAY_TEST_WRITE_DECISIONS")) {
        FILE *file = trace_open(name, "decisions", "we");
        cr_assert_geq(fputs(decisions, file), 0);
        cr_assert_eq(fclose(file), 0);
        return;
    }
    FILE *file = trace_open(name, "decisions", "re");
    size_t len = fread(kept, 1, sizeof(kept) - 1, file);
    kept[len] = '\0';
    fclose(file);
    size_t same = 0;
    while (kept[same] && kept[same] == decisions[same])
        same++;
    cr_assert_str_eq(decisions, kept,
                     "%s: other decisions than tests/traces/%s.decisions has; the first that "
                     "differs, at byte %zu: %.200s",
                     name, name, same, decisions + same);
}

/* With a trigger and polled, each twice. */
static void check_trace(const char *name, unsigned most_turns)
{
    static char first[TEXT_BYTES], second[TEXT_BYTES], both[2 * TEXT_BYTES];
    both[0] = '\0';
    for (unsigned way = 0; way < 2; way++) {
        struct figures figures = play(name, way == 0, first);
        (void)play(name, way == 0, second);
        cr_assert_str_eq(first, second, "%s is not repeated", name);
        cr_assert_leq(figures.turns, most_turns, "%s: %u turns", name, figures.turns);
        strcat(both, way == 0 ? "With a trigger:\n" : "\nPolled:\n");
        strcat(both, first);
    }
    check_decisions(name, both);
}

Test(replay, burst)
{
    static char text[TEXT_BYTES];
    check_trace("burst", 1);
    for (unsigned way = 0; way < 2; way++) {
        struct figures figures = play("burst", way == 0, text);
        cr_assert(strstr(text, "lower: ") != NULL);
        cr_assert_eq(figures.budget_bytes, 512 * MIB, "whole at the end");
    }
}

/* Four waves: down and up in each, and no more. */
Test(replay, wave)
{
    check_trace("wave", 7);
}

/* Each second another way: it goes down, and stays there. */
Test(replay, flutter)
{
    check_trace("flutter", 0);
}

Test(replay, steady)
{
    check_trace("steady", 0);
}

/* The disk is the worse evil, and memory is not short. */
Test(replay, disk)
{
    static char text[TEXT_BYTES];
    check_trace("disk", 0);
    struct figures figures = play("disk", true, text);
    cr_assert(strstr(text, "hold: ") != NULL);
    cr_assert(strstr(text, "release: ") != NULL);
    cr_assert_eq(figures.held, 0);
    cr_assert_eq(figures.budget_bytes, 512 * MIB);
}
