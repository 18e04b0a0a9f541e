#!/bin/sh
# SPDX-License-Identifier: MIT
# SLURM Prolog (slurm.conf: Prolog=/etc/slurm/spillway-prolog.sh), as root on each node before a job:
# a scratch directory of the job's own, and whether the job's user can spill there.
set -u
scratch=${SPILLWAY_SCRATCH:-/local/scratch}/spillway-$SLURM_JOB_ID

install -d -m 700 -o "$SLURM_JOB_UID" "$scratch" || exit 1
# 2: something is broken. A node whose prolog fails is drained, and the job goes to another one.
setpriv --reuid="$SLURM_JOB_UID" --regid="${SLURM_JOB_GID:-$SLURM_JOB_UID}" --clear-groups \
    env SPILLWAY_DIRS="$scratch" poolstat doctor scratch threads fork >"$scratch.doctor" 2>&1
[ $? -lt 2 ] || {
    logger -t spillway "job $SLURM_JOB_ID: $(grep '^broken' "$scratch.doctor" | head -n 1)"
    exit 1
}
