/* SPDX-License-Identifier: MIT */
/* Bars of policies that are not built yet: named, so that nobody takes the table for complete. */
#include "bars.h"

static void run(struct bars *bars)
{
    bars_row(bars, "compress policy, a device slowed to 200 MB/s", ">= 1.8 x uncompressed",
             VERDICT_SHORT, NULL, "not yet: policy comes later");
    bars_row(bars, "compress policy, the fast device", "chooses none, costs <= 3 %", VERDICT_SHORT,
             NULL, "not yet: policy comes later");
}

const struct bars_group bars_policies = {"policies", run};
