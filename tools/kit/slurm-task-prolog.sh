#!/bin/sh
# SPDX-License-Identifier: MIT
# SLURM TaskProlog, as the user before each task: what it prints as "export NAME=value" is in the
# task's environment. The tasks of a job on one node share its memory cgroup, and so its budget:
# half of the limit for all of them together.
scratch=${SPILLWAY_SCRATCH:-/local/scratch}/spillway-$SLURM_JOB_ID
tasks=${SLURM_TASKS_PER_NODE:-1}
tasks=${tasks%%[!0-9]*}
share=$((50 / ${tasks:-1}))
[ "$share" -ge 1 ] || share=1

echo "export SPILLWAY_DIRS=$scratch"
[ -n "${SPILLWAY_MEMORY:-}" ] || echo "export SPILLWAY_MEMORY=$share%"
