/* SPDX-License-Identifier: MIT */
/* Checksums are the same in registers of any width: what one process wrote, any may look at. */
#include "../pool/checksum.h"

#include <stdlib.h>
#include <string.h>

#include "../pool/checksum_wide.h"
#include "harness.h"
#include "queue_tools.h"

enum { BYTES = 70000 };

Test(checksum, the_same_in_wide_registers)
{
    unsigned char *data = malloc(BYTES + 64);
    cr_assert(data != NULL);
    stream_fill(data, 7, BYTES + 64);
    if (!checksum_wide_works()) {
        free(data);
        test_skip("this processor, or this build, has none");
    }
    for (size_t len = 0; len <= BYTES; len += len < 600 ? 1 : 997)
        for (size_t offset = 0; offset < 64; offset += 13)
            cr_assert_eq(checksum_wide(len + 1, data + offset, len),
                         checksum_narrow(len + 1, data + offset, len), "%zu bytes at %zu", len,
                         offset);
    free(data);
}

Test(checksum, what_is_asked_for_is_one_of_them)
{
    static const char text[] = "bytes that were spilled";
    cr_assert_eq(checksum_update(3, text, sizeof(text)), checksum_narrow(3, text, sizeof(text)));
    cr_assert_neq(checksum_update(3, text, sizeof(text)), checksum_update(4, text, sizeof(text)));
    cr_assert_neq(checksum_update(3, text, sizeof(text)),
                  checksum_update(3, text, sizeof(text) - 1));
}

/* Of XXH3 itself, 64 bits, seed 0: no bytes at all. */
Test(checksum, of_nothing_is_known)
{
    cr_assert_eq(checksum_update(0, "", 0), UINT64_C(0x2d06800538d394c2));
}
