/* SPDX-License-Identifier: MIT */
#include "../policies/pressure_gauge.h"
#include "harness.h"

#define S  UINT64_C(1000000000)
#define MS UINT64_C(1000000)

/* 150 ms of stall within 1 s. */
static struct gauge gauge;

static void begin(uint64_t total_us)
{
    gauge_begin(&gauge, 150000, S, total_us, 10 * S);
}

Test(pressure_gauge, quiet)
{
    begin(500);
    cr_assert(!gauge_read(&gauge, false, 500, 10 * S));
    cr_assert(!gauge_read(&gauge, false, 500, 20 * S));
}

Test(pressure_gauge, the_first_wake_up_may_be_false)
{
    begin(500);
    cr_assert(!gauge_read(&gauge, true, 500, 11 * S));
    cr_assert(!gauge_read(&gauge, true, 100000, 12 * S));
    /* 150 ms since the start, though slowly */
    cr_assert(gauge_read(&gauge, true, 150500, 19 * S));
    /* from now on any growth is believed, but some it must be */
    cr_assert(!gauge_read(&gauge, true, 150500, 20 * S));
    cr_assert(gauge_read(&gauge, true, 150501, 21 * S));
}

Test(pressure_gauge, enough_in_a_window_needs_no_wake_up)
{
    begin(0);
    cr_assert(!gauge_read(&gauge, false, 149999, 10 * S + 500 * MS));
    cr_assert(gauge_read(&gauge, false, 150000, 10 * S + 600 * MS));
    /* a new window begins with an event */
    cr_assert(!gauge_read(&gauge, false, 150000, 10 * S + 700 * MS));
    cr_assert(!gauge_read(&gauge, false, 299999, 11 * S + 599 * MS));
    cr_assert(gauge_read(&gauge, false, 300000, 11 * S + 599 * MS));
}

Test(pressure_gauge, windows_follow_each_other)
{
    begin(0);
    /* 100 ms in each second */
    cr_assert(!gauge_read(&gauge, false, 100000, 11 * S));
    cr_assert(!gauge_read(&gauge, false, 200000, 12 * S));
    cr_assert(!gauge_read(&gauge, false, 300000, 13 * S));
    /* read late: the share counts, not the sum */
    cr_assert(!gauge_read(&gauge, false, 700000, 17 * S));
    cr_assert(gauge_read(&gauge, false, 1150000, 20 * S));
}

Test(pressure_gauge, a_total_that_goes_back)
{
    begin(1000000);
    cr_assert(!gauge_read(&gauge, true, 5, 11 * S));
    cr_assert(!gauge_read(&gauge, false, 5, 12 * S));
    cr_assert(gauge_read(&gauge, false, 200000, 12 * S));
    cr_assert(!gauge_read(&gauge, true, 100, 12 * S));
}

Test(pressure_gauge, any_growth)
{
    gauge_begin(&gauge, 0, S, 7, 10 * S);
    cr_assert(!gauge_read(&gauge, true, 7, 11 * S));
    cr_assert(gauge_read(&gauge, true, 8, 12 * S));
}

Test(pressure_gauge, largest_numbers)
{
    gauge_begin(&gauge, UINT64_MAX, UINT64_MAX, 0, 0);
    cr_assert(!gauge_read(&gauge, false, UINT64_MAX - 1, UINT64_MAX - 1));
    cr_assert(gauge_read(&gauge, false, UINT64_MAX, UINT64_MAX));
}
