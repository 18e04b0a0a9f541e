/* SPDX-License-Identifier: MIT */
#include "guard.h"

#include <stddef.h>
#include <sys/mman.h>

enum { GUARD_BYTES = 4096 };

int guard_open(struct guard *guard, const struct os *os)
{
    void *page;
    int err =
        os->map(GUARD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &page);
    if (err)
        return err;
    err = os->advise(page, GUARD_BYTES, MADV_WIPEONFORK);
    if (err) {
        os->unmap(page, GUARD_BYTES);
        return err;
    }
    *(volatile unsigned *)page = 1;
    guard->word = page;
    return 0;
}

void guard_close(struct guard *guard, const struct os *os)
{
    if (guard->word)
        os->unmap((void *)(uintptr_t)guard->word, GUARD_BYTES);
    guard->word = NULL;
}
