/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "bars.h"
#include "raw.h"

enum { ROUNDS = 3 };

static int measure_rate(struct raw_file *file, const struct bars *bars,
                        enum raw_direction direction, double *median)
{
    struct raw_plan plan;
    struct series rates = {.count = 0};
    int rc = raw_best(file, direction, &plan);

    plan.total_bytes = bars->data_bytes;
    for (unsigned i = 0; rc == 0 && i < ROUNDS; i++) {
        double rate = 0, cpu = 0;
        rc = raw_run(file, &plan, &rate, &cpu);
        series_add(&rates, rate);
    }
    *median = series_median(&rates);
    return rc;
}

bool bars_rates(struct bars *bars, char *why, size_t why_bytes)
{
    int rc = 0;

    if (bars->write_rate > 0 && bars->read_rate > 0)
        return true;
    struct raw_file *file = raw_open(bars->dir, bars->data_bytes, &rc);
    if (file) {
        rc = measure_rate(file, bars, RAW_WRITE, &bars->write_rate);
        if (rc == 0)
            rc = measure_rate(file, bars, RAW_READ, &bars->read_rate);
        raw_close(file);
    }
    if (rc != 0)
        snprintf(why, why_bytes, "raw rates: %s", strerror(-rc));
    return rc == 0;
}
