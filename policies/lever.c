/* SPDX-License-Identifier: MIT */
#include "lever.h"

/* A push within so many times the patience after a step back shows that the step was too soon; one
 * that comes so much later, that patience is not needed. */
enum { SOON_TIMES = 8, LONG_TIMES = 32 };

static uint64_t patience(const struct lever *lever)
{
    return lever->patience_ns > 0 ? lever->patience_ns : LEVER_PATIENCE_MIN_NS;
}

bool lever_may_push(const struct lever *lever, int way, uint64_t now_ns)
{
    uint64_t gap_ns = lever->level * way < 0 ? patience(lever) : LEVER_GAP_NS;
    return lever->moved_ns == 0 || now_ns - lever->moved_ns >= gap_ns;
}

void lever_push(struct lever *lever, int way, uint64_t now_ns)
{
    uint64_t was_ns = patience(lever), since_ns = now_ns - lever->moved_ns;
    bool against = lever->level * way < 0;
    if (lever->returned && since_ns < SOON_TIMES * was_ns && was_ns < LEVER_PATIENCE_MAX_NS)
        lever->patience_ns = 2 * was_ns;
    else if (since_ns > LONG_TIMES * was_ns && was_ns > LEVER_PATIENCE_MIN_NS)
        lever->patience_ns = was_ns / 2;
    lever->level += way;
    lever->moved_ns = lever->calm_ns = now_ns;
    lever->returned = against;
}

void lever_stir(struct lever *lever, uint64_t now_ns)
{
    lever->calm_ns = now_ns;
}

bool lever_rest(struct lever *lever, uint64_t now_ns)
{
    if (lever->level == 0 || now_ns - lever->calm_ns < patience(lever))
        return false;
    lever->level += lever->level > 0 ? -1 : 1;
    lever->moved_ns = lever->calm_ns = now_ns;
    lever->returned = true;
    return true;
}
