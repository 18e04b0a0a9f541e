/* SPDX-License-Identifier: MIT */
/* not_dumpable: a process that its own user may not look into; says "ready", ends with its input.
 */
#include <stdio.h>
#include <sys/prctl.h>

int main(void)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || puts("ready") < 0 || fflush(stdout) != 0)
        return 1;
    while (getchar() != EOF)
        ;
    return 0;
}
