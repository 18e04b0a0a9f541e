/* SPDX-License-Identifier: MIT */
/* The public face of a governor, whoever it is. */
#include "spillway/governor.h"

#include <errno.h>

#include "growable.h"

int spw_governor_attach(spw_governor *governor, spw_regulator *regulator)
{
    if (!governor || !regulator || !regulator->ops || !regulator->ops->name)
        return -EINVAL;
    return governor->ops->attach(governor, regulator);
}

int spw_governor_detach(spw_governor *governor, const char *name)
{
    return governor && name ? governor->ops->detach(governor, name) : -EINVAL;
}

void spw_governor_wake(spw_governor *governor, const char *name)
{
    if (governor)
        governor->ops->wake(governor, name);
}

int spw_governor_attach_coder(spw_governor *governor, spw_coder *coder)
{
    if (!governor || !coder || !coder->ops)
        return -EINVAL;
    return OPS_HAS(governor->ops, attach_coder) ? governor->ops->attach_coder(governor, coder)
                                                : -ENOTSUP;
}

const spw_options *spw_governor_options(spw_governor *governor)
{
    return governor && OPS_HAS(governor->ops, options) ? governor->ops->options(governor) : NULL;
}

spw_regulator *spw_governor_regulator(spw_governor *governor, const char *name)
{
    return governor && name && OPS_HAS(governor->ops, regulator)
               ? governor->ops->regulator(governor, name)
               : NULL;
}

int spw_governor_fallback(spw_governor *governor, const char *name, const char *why)
{
    return governor && name && why && OPS_HAS(governor->ops, fallback)
               ? governor->ops->fallback(governor, name, why)
               : 0;
}
