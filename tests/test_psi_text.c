/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../policies/psi_text.h"
#include "fuzz_psi_text.h"
#include "harness.h"
#include "queue_tools.h"

static struct psi_text psi;
static struct memory_events events;

static int parse(const char *text)
{
    return psi_parse(text, strlen(text), &psi);
}

#define SOME "some avg10=1.25 avg60=0.05 avg300=12.00 total=123\n"
#define FULL "full avg10=0.50 avg60=0.00 avg300=100.00 total=45\n"

static void is_some(void)
{
    cr_assert_eq(psi.some.avg10, 125);
    cr_assert_eq(psi.some.avg60, 5);
    cr_assert_eq(psi.some.avg300, 1200);
    cr_assert_eq(psi.some.total_us, 123);
}

Test(psi_text, both_lines)
{
    cr_assert_eq(parse(SOME FULL), 0);
    is_some();
    cr_assert(psi.has_full);
    cr_assert_eq(psi.full.avg10, 50);
    cr_assert_eq(psi.full.avg300, PSI_WHOLE);
    cr_assert_eq(psi.full.total_us, 45);
    memset(&psi, 0, sizeof(psi));
    cr_assert_eq(parse(FULL SOME), 0);
    is_some();
    cr_assert(psi.has_full);
}

Test(psi_text, what_may_be_missing)
{
    memset(&psi, 0xff, sizeof(psi));
    cr_assert_eq(parse(SOME), 0);
    is_some();
    cr_assert(!psi.has_full);
    cr_assert_eq(psi.full.total_us, 0);
    /* the last newline */
    cr_assert_eq(psi_parse(SOME FULL, strlen(SOME FULL) - 1, &psi), 0);
    cr_assert_eq(psi.full.total_us, 45);
    /* longer averages */
    cr_assert_eq(parse("some avg10=1.25 total=123"), 0);
    cr_assert_eq(psi.some.avg10, 125);
    cr_assert_eq(psi.some.avg60, 0);
}

Test(psi_text, what_is_not_known_yet)
{
    cr_assert_eq(parse("some avg10=1.25 avg30=x avg60=0.05 avg300=12.00 total=123 most=9\n" FULL
                       "irq avg10=7 anything=else\n"),
                 0);
    is_some();
    cr_assert(psi.has_full);
}

Test(psi_text, averages)
{
    cr_assert_eq(parse("some avg10=7 avg60=7.5 avg300=7.509 total=0"), 0);
    cr_assert_eq(psi.some.avg10, 700);
    cr_assert_eq(psi.some.avg60, 750);
    cr_assert_eq(psi.some.avg300, 750);
    cr_assert_eq(parse("some avg10=100.37 avg60=4000000 avg300=99.99 total=0"), 0);
    cr_assert_eq(psi.some.avg10, PSI_WHOLE);
    cr_assert_eq(psi.some.avg60, PSI_WHOLE);
    cr_assert_eq(psi.some.avg300, 9999);
}

Test(psi_text, largest_numbers)
{
    cr_assert_eq(parse("some avg10=0.00 total=18446744073709551615"), 0);
    cr_assert_eq(psi.some.total_us, UINT64_MAX);
    cr_assert_eq(parse("some avg10=0.00 total=18446744073709551616"), -EBADMSG);
    cr_assert_eq(parse("some avg10=0.00 total=99999999999999999999999"), -EBADMSG);
    cr_assert_eq(parse("some avg10=99999999999999999999999.00 total=1"), -EBADMSG);
    cr_assert_eq(parse("some avg10=4294967296 total=1"), -EBADMSG);
}

Test(psi_text, refused)
{
    static const char *const texts[] = {
        "",
        "\n",
        " ",
        "some",
        "some\n",
        "some \n",
        "garbage",
        FULL, /* no line "some" */
        "some avg10=0.00 avg60=0.00 avg300=0.00\n",
        "some avg60=0.00 avg300=0.00 total=1\n",
        "some avg10= total=1",
        "some avg10=. total=1",
        "some avg10=1. total=1",
        "some avg10=.5 total=1",
        "some avg10=1.x total=1",
        "some avg10=1,5 total=1",
        "some avg10=-1.00 total=1",
        "some avg10=0x1 total=1",
        "some avg10=0.00 total=-1",
        "some avg10=0.00 total=+1",
        "some avg10=0.00 total=1k",
        "some avg10=0.00 total=1 total=1",
        "some avg10=0.00 avg10=0.00 total=1",
        "some avg10=0.00 avg60=1.00 avg60=1.00 total=1",
        "some avg10=0.00 total=1 word",
        "some avg10=0.00 total=1 =5",
        "some avg10=0.00 total=1 new=",
        "some\tavg10=0.00 total=1",
        "some avg10=0.00 total=1\r\n",
        SOME SOME,
        SOME FULL FULL,
        SOME "\n" FULL,
        SOME "full avg10=0.00",
        SOME "other word\n",
        SOME "other\n",
        "Some avg10=0.00 total=1",
        "some=1 avg10=0.00 total=1",
        "avg10=0.00 total=1",
    };
    size_t i;

    memset(&psi, 0x5a, sizeof(psi));
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_assert_eq(parse(texts[i]), -EBADMSG, "taken: %s", texts[i]);
    cr_assert_eq(psi_parse("some avg10=0.00 total=1\0", 24, &psi), -EBADMSG);
    cr_assert_eq(psi_parse("some avg10=0.00 to\0tal=1", 24, &psi), -EBADMSG);
    /* a failed call changes nothing */
    cr_assert_eq(psi.some.total_us, UINT64_C(0x5a5a5a5a5a5a5a5a));
}

/* Wherever a text is cut, what is left is refused, or has no more than the line "some" whole. */
Test(psi_text, cut_off)
{
    const char *text = SOME FULL;
    size_t some_len = strlen(SOME), digits = 3, len;

    for (len = 0; len < strlen(text); len++) {
        int rc = psi_parse(text, len, &psi);
        bool some_told = len > some_len - digits - 1, full_begun = len > some_len;
        bool full_told = len > strlen(text) - 3;

        cr_assert_eq(rc == 0, some_told && (!full_begun || full_told), "cut to %zu: %d", len, rc);
    }
}

Test(psi_text, events)
{
    const char *text = "low 1\nhigh 22\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n";

    cr_assert_eq(memory_events_parse(text, strlen(text), &events), 0);
    cr_assert_eq(events.low, 1);
    cr_assert_eq(events.high, 22);
    cr_assert_eq(events.max, 3);
    cr_assert_eq(events.oom, 4);
    cr_assert_eq(events.oom_kill, 5);
    cr_assert_eq(memory_events_parse("max 18446744073709551615", 24, &events), 0);
    cr_assert_eq(events.max, UINT64_MAX);
    cr_assert_eq(events.low, 0);
}

Test(psi_text, events_refused)
{
    static const char *const texts[] = {
        "",
        "\n",
        "high",
        "high ",
        "high\n",
        "high x",
        "high 1x",
        "high -1",
        "high 1 2",
        "high 1\nhigh 1",
        "other 1\n",
        "high 18446744073709551616",
        "high 1\n\nmax 2",
    };
    size_t i;

    memset(&events, 0x5a, sizeof(events));
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_assert_eq(memory_events_parse(texts[i], strlen(texts[i]), &events), -EBADMSG,
                     "taken: %s", texts[i]);
    cr_assert_eq(events.high, UINT64_C(0x5a5a5a5a5a5a5a5a));
}

Test(psi_text, triggers)
{
    static const char *const refused[] = {
        "",         "some",     "some 1",    "some 1 2 3",
        "none 1 2", "some x 2", "some 1 -2", "some 1 99999999999999999999"};
    struct psi_trigger trigger = {.stall_us = 7};
    size_t i;

    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        cr_assert_eq(psi_trigger_parse(refused[i], strlen(refused[i]), &trigger), -EBADMSG,
                     "taken: %s", refused[i]);
    cr_assert_eq(trigger.stall_us, 7);
    cr_assert_eq(psi_trigger_parse("some 200000 2000000", 20, &trigger), 0); /* with its NUL */
    cr_assert(!trigger.full);
    cr_assert_eq(trigger.stall_us, 200000);
    cr_assert_eq(trigger.window_us, 2000000);
    cr_assert_eq(psi_trigger_parse("full 1 2\n", 9, &trigger), 0);
    cr_assert(trigger.full);
    cr_assert_eq(psi_trigger_parse("full 3 4", 8, &trigger), 0);
    cr_assert_eq(trigger.window_us, 4);
}

Test(psi_text, base64)
{
    unsigned char out[32];

    cr_assert_eq(base64_decode("", out, sizeof(out)), 0);
    cr_assert_eq(base64_decode(" \n", out, sizeof(out)), 0);
    cr_assert_eq(base64_decode("", out, 0), 0);
    cr_assert_eq(base64_decode("c29tZSAyMDAwMDAgMjAwMDAwMAA=", out, sizeof(out)), 20);
    cr_assert_eq(memcmp(out, "some 200000 2000000", 20), 0);
    cr_assert_eq(base64_decode("c29t ZSAy\nMDAw MDAgMjAwMDAw MAA= ", out, sizeof(out)), 20);
    cr_assert_eq(memcmp(out, "some 200000 2000000", 20), 0);
    cr_assert_eq(base64_decode("/+8=", out, 2), 2);
    cr_assert(out[0] == 0xff && out[1] == 0xef);
    cr_assert_eq(base64_decode("AA==", out, 1), 1);
    cr_assert_eq(out[0], 0);
    cr_assert_eq(base64_decode("AA==", out, 0), -EFBIG);
    cr_assert_eq(base64_decode("AAAAAAAA", out, 5), -EFBIG);
}

Test(psi_text, base64_refused)
{
    static const char *const texts[] = {"A",     "AA",       "AAA",   "A===",   "====", "=",
                                        "AA=A",  "AA=",      "AB==",  "AAB=",   "AA-_", "A.AA",
                                        "AAAA=", "AA==AAAA", "AA==A", "\200AAA"};
    unsigned char out[32];
    size_t i;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_assert_eq(base64_decode(texts[i], out, sizeof(out)), -EBADMSG, "taken: %s", texts[i]);
}

/* ---- made-up texts ---- */

enum { SEEDS_MAX = 64, MUTANT_BYTES = 512, MUTANTS = 200000 };

static struct {
    uint8_t data[MUTANT_BYTES];
    size_t len;
} seeds[SEEDS_MAX];
static size_t seed_count;

static void read_corpus(const char *directory)
{
    DIR *list = opendir(directory);
    struct dirent *entry;

    if (list == NULL)
        return;
    while (seed_count < SEEDS_MAX && (entry = readdir(list)) != NULL) {
        char path[512];
        FILE *file;

        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        file = fopen(path, "rb");
        cr_assert_not_null(file);
        seeds[seed_count].len = fread(seeds[seed_count].data, 1, MUTANT_BYTES, file);
        (void)fclose(file);
        seed_count++;
    }
    (void)closedir(list);
}

/* One change: a byte, a cut, a piece of another text, or a piece twice. */
static size_t mutate(struct random *random, uint8_t *data, size_t len)
{
    static const char letters[] = " \n=.0123456789somefulavgtohighmax\0\xff";
    size_t at = random_below(random, len + 1), n = 1 + random_below(random, 16), other;

    switch (random_below(random, 5)) {
    case 0: /* another byte */
        if (at < len)
            data[at] = (uint8_t)letters[random_below(random, sizeof(letters))];
        return len;
    case 1: /* cut off */
        return at;
    case 2: /* taken out */
        if (n > len - at)
            n = len - at;
        memmove(data + at, data + at + n, len - at - n);
        return len - n;
    case 3: /* twice */
        if (n > len - at)
            n = len - at;
        if (len + n > MUTANT_BYTES)
            return len;
        memmove(data + at + n, data + at, len - at);
        return len + n;
    default: /* the end of another text */
        other = random_below(random, seed_count);
        n = random_below(random, seeds[other].len + 1);
        if (at + n > MUTANT_BYTES)
            return len;
        memcpy(data + at, seeds[other].data + seeds[other].len - n, n);
        return at + n;
    }
}

/* What a fuzzer does for longer: what fuzz_psi_text.c says holds for anything. */
Test(psi_text, mutants)
{
    struct random random = random_open("mutants");
    uint64_t i, count = test_scaled(MUTANTS);

    read_corpus("tests/fuzz/corpus/psi_text");
    if (seed_count == 0)
        test_skip("not at the top of the sources: no tests/fuzz/corpus/psi_text here");
    for (i = 0; i < count; i++) {
        uint8_t data[MUTANT_BYTES];
        size_t seed = random_below(&random, seed_count), len = seeds[seed].len;
        uint64_t changes = i < seed_count ? 0 : 1 + random_below(&random, 6);
        const char *wrong;

        if (changes == 0)
            seed = i, len = seeds[i].len;
        memcpy(data, seeds[seed].data, len);
        while (changes-- > 0)
            len = mutate(&random, data, len);
        wrong = fuzz_psi_text(data, len);
        cr_assert_null(wrong, "%s: \"%.*s\"", wrong, (int)len, (const char *)data);
    }
}
