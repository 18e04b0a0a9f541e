/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "spillway/spillway.h"

/* What errors.h promises. */
static const int retry[] = {EAGAIN, EINTR, EBUSY, ETIMEDOUT, ENOMEM, EMFILE, ENFILE, EIO};
static const int degraded[] = {ENOSPC, EDQUOT, EROFS, ENODEV};
static const int lost[] = {EBADMSG, ENOTRECOVERABLE};
/* Others that the public headers name. */
static const int none[] = {EINVAL,      ENOENT,  ERANGE, EPIPE, ECONNRESET, EOWNERDEAD, EOPNOTSUPP,
                           EMEDIUMTYPE, ENOTDIR, EACCES, EPERM, EMSGSIZE,   EDEADLK};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void check_class(const int *numbers, size_t count, enum spw_error_class want)
{
    size_t i;

    for (i = 0; i < count; i++) {
        cr_assert_eq((int)spw_error_class(-numbers[i]), (int)want, "%s", strerror(numbers[i]));
        cr_assert_eq((int)spw_error_class(numbers[i]), SPILLWAY_CLASS_NONE, "positive %d",
                     numbers[i]);
        cr_assert_neq(strcmp(spw_error_text(-numbers[i]), "unknown error"), 0, "%s",
                      strerror(numbers[i]));
    }
}

Test(errors, classes)
{
    check_class(retry, COUNT(retry), SPILLWAY_CLASS_RETRY);
    check_class(degraded, COUNT(degraded), SPILLWAY_CLASS_DEGRADED);
    check_class(lost, COUNT(lost), SPILLWAY_CLASS_LOST);
    check_class(none, COUNT(none), SPILLWAY_CLASS_NONE);
}

static int is_in(const int *numbers, size_t count, int number)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (numbers[i] == number)
            return 1;
    }
    return 0;
}

Test(errors, every_other_number_has_no_class)
{
    int number;

    for (number = -5; number < 200; number++) {
        if (is_in(retry, COUNT(retry), number) || is_in(degraded, COUNT(degraded), number) ||
            is_in(lost, COUNT(lost), number))
            continue;
        cr_assert_eq((int)spw_error_class(-number), SPILLWAY_CLASS_NONE, "%d", number);
    }
}

Test(errors, texts)
{
    int a, b;

    cr_assert_str_eq(spw_error_text(0), "success");
    cr_assert_str_eq(spw_error_text(-4000), "unknown error");
    cr_assert_str_eq(spw_error_text(EIO), "unknown error");
    /* one line each, and no two alike */
    for (a = 0; a < 200; a++) {
        const char *text = spw_error_text(-a);

        cr_assert_gt(strlen(text), 0, "%d", a);
        cr_assert_null(strchr(text, '\n'), "%d", a);
        for (b = 0; b < a && strcmp(text, "unknown error") != 0; b++)
            cr_assert_neq(strcmp(text, spw_error_text(-b)), 0, "%d and %d", a, b);
    }
}

Test(errors, class_names)
{
    cr_assert_str_eq(spw_error_class_name(SPILLWAY_CLASS_NONE), "none");
    cr_assert_str_eq(spw_error_class_name(SPILLWAY_CLASS_RETRY), "retry");
    cr_assert_str_eq(spw_error_class_name(SPILLWAY_CLASS_DEGRADED), "degraded");
    cr_assert_str_eq(spw_error_class_name(SPILLWAY_CLASS_LOST), "lost");
    cr_assert_str_eq(spw_error_class_name((enum spw_error_class)77), "none");
}

Test(version, number_and_text_agree)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%d.%d.%d", spw_version() / 10000, spw_version() / 100 % 100,
                   spw_version() % 100);
    cr_assert_str_eq(spw_version_text(), text);
    cr_assert_eq(spw_version() / 10000, SPILLWAY_VERSION_MAJOR);
}
