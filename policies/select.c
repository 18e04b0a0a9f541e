/* SPDX-License-Identifier: MIT */
/* Which policies there are: those of the queue itself, and once for its pool those of that. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../lib/alloc.h"
#include "../lib/growable.h"
#include "pair.h"

/* ---- policies for the whole pool ---- */

static int open_pressure(const struct settings *settings, spw_regulator **out)
{
    const spw_pressure_config config = {
        .size = sizeof(config),
        .source = settings->pressure,
        .floor_bytes = settings->floor.percent > 0 ? SPILLWAY_AUTO : settings->floor.bytes,
        .floor_percent = settings->floor.percent,
        .strict = settings->strict,
        .stall_ns = settings->stall_ns,
        .window_ns = settings->stall_window_ns,
    };
    return spw_pressure_open(&config, out);
}

static int open_periodic(const struct settings *settings, spw_regulator **out)
{
    const spw_periodic_config config = {.size = sizeof(config), .period_ns = settings->period_ns};
    return spw_periodic_open(&config, out);
}

static int open_manual(const struct settings *settings, spw_regulator **out)
{
    (void)settings;
    return spw_manual_open(NULL, out);
}

/* Whether a size that a policy of queues has is to be found by others. */
static bool is_automatic(const struct settings *settings, enum policy_kind kind,
                         struct amount amount)
{
    return (settings->policies & 1u << kind) != 0 && amount.percent == 0 &&
           amount.bytes == SETTINGS_AUTO;
}

static int open_adaptive(const struct settings *settings, spw_regulator **out)
{
    const spw_adaptive_config config = {
        .size = sizeof(config),
        .price_ns = settings->price_ns,
        .keeps_threshold = !is_automatic(settings, POLICY_THRESHOLD, settings->threshold),
        .keeps_prefetch = !is_automatic(settings, POLICY_PREFETCH, settings->prefetch),
    };
    return spw_adaptive_open(&config, out);
}

static const struct pool_policy {
    enum policy_kind kind;
    const char *name;
    int (*open)(const struct settings *settings, spw_regulator **out);
} pool_policies[] = {
    {POLICY_PRESSURE, "pressure", open_pressure},
    {POLICY_PERIODIC, "periodic", open_periodic},
    {POLICY_MANUAL, "manual", open_manual},
    {POLICY_ADAPTIVE, "adaptive", open_adaptive},
};

enum { POOL_POLICIES = sizeof(pool_policies) / sizeof(pool_policies[0]) };

/* It goes on without this one, unless that is forbidden; without memory it does not go on. */
static int lacks(spw_governor *governor, const char *policy, int err)
{
    char why[96];
    if (err == -EEXIST)
        return 0; /* another queue was first */
    if (err == -ENOMEM || err == -EOWNERDEAD)
        return err;
    (void)snprintf(why, sizeof(why), "the policy is not to be had: %s", strerrordesc_np(-err));
    return spw_governor_fallback(governor, policy, why);
}

/* Attaches one unless that is done already. */
static int attach(spw_governor *governor, const struct pool_policy *policy,
                  const struct settings *settings)
{
    spw_regulator *regulator;
    if (spw_governor_regulator(governor, policy->name))
        return 0;
    int err = policy->open(settings, &regulator);
    if (err)
        return lacks(governor, policy->name, err);
    err = spw_governor_attach(governor, regulator);
    if (!err)
        return 0;
    regulator->ops->close(regulator);
    return lacks(governor, policy->name, err);
}

/* The one that is no regulator. */
static int attach_compress(spw_governor *governor, const struct settings *settings)
{
    char mode[24];
    const spw_compress_config config = {.size = sizeof(config), .mode = mode};
    spw_coder *coder;
    compress_format(&settings->compress, mode, sizeof(mode));
    int err = spw_compress_open(&config, &coder);
    if (err)
        return lacks(governor, "compress", err);
    err = spw_governor_attach_coder(governor, coder);
    if (!err)
        return 0;
    coder->ops->close(coder);
    return lacks(governor, "compress", err);
}

static int attach_all(spw_governor *governor, const struct settings *settings)
{
    int err = 0;
    if ((settings->policies & 1u << POLICY_COMPRESS) != 0)
        err = attach_compress(governor, settings);
    for (unsigned i = 0; i < POOL_POLICIES && !err; i++)
        if ((settings->policies & 1u << pool_policies[i].kind) != 0)
            err = attach(governor, &pool_policies[i], settings);
    return err;
}

/* ---- all of them ---- */

int spw_policies_open(spw_strategy *strategy, const spw_options *options, spw_policy **writer,
                      spw_policy **reader)
{
    if (!strategy)
        return -EINVAL;
    const spw_allocator *allocator = allocator_or_default(NULL);
    spw_governor *governor =
        OPS_HAS(strategy->ops, governor) ? strategy->ops->governor(strategy) : NULL;
    struct settings *settings = allocator_acquire(allocator, sizeof(*settings));
    if (!settings)
        return -ENOMEM;
    settings_read(options ? options : spw_governor_options(governor), settings);
    int err = governor ? attach_all(governor, settings) : 0;
    if (!err)
        err = pair_open(strategy, settings, writer, reader);
    allocator_release(allocator, settings, sizeof(*settings));
    return err;
}
