#!/bin/sh
# SPDX-License-Identifier: MIT
# SLURM Epilog, as root on each node after a job. Scratch files have no names: their space went with
# the processes, however these ended. What is left is the empty directory.
scratch=${SPILLWAY_SCRATCH:-/local/scratch}/spillway-$SLURM_JOB_ID

rm -f "$scratch.doctor"
[ ! -d "$scratch" ] || rmdir "$scratch" || {
    logger -t spillway "job $SLURM_JOB_ID left files of its own in $scratch"
    rm -rf "$scratch"
}
