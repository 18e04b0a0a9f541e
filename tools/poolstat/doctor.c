/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/alloc.h"
#include "../../lib/options.h"
#include "../../lib/text.h"

#define PROBE_NS UINT64_C(500000000)

enum { PATH_ROOM = 1024, FILE_ROOM = 8192 };

int doctor_open(struct doctor *doctor, const struct os *os, const char *root,
                char *const *environment)
{
    spw_options *options;
    int err = options_open(allocator_or_default(NULL), &options);

    *doctor = (struct doctor){.os = os, .root = root, .environment = environment};
    if (err)
        return err;
    /* What is refused keeps its default: the check of settings tells. */
    (void)options_load_from(options, environment);
    settings_read(options, &doctor->settings);
    spw_options_close(options);
    doctor->probe_ns = PROBE_NS;
    doctor->findings = calloc(DOCTOR_FINDINGS_MAX, sizeof(doctor->findings[0]));
    return doctor->findings != NULL ? 0 : -ENOMEM;
}

void doctor_close(struct doctor *doctor)
{
    free(doctor->findings);
    doctor->findings = NULL;
}

static const struct doctor_check *check_find(const char *name)
{
    for (const struct doctor_check *check = doctor_checks; check->name != NULL; check++) {
        if (strcmp(check->name, name) == 0)
            return check;
    }
    return NULL;
}

static void run_check(struct doctor *doctor, const struct doctor_check *check)
{
    doctor->check = check;
    check->run(doctor);
}

int doctor_run(struct doctor *doctor, const char *const *only)
{
    for (unsigned i = 0; only != NULL && only[i] != NULL; i++) {
        if (check_find(only[i]) == NULL)
            return -ENOENT;
    }
    for (unsigned i = 0; only != NULL && only[i] != NULL; i++)
        run_check(doctor, check_find(only[i]));
    for (const struct doctor_check *check = doctor_checks; only == NULL && check->name != NULL;
         check++)
        run_check(doctor, check);
    return 0;
}

enum doctor_level doctor_worst(const struct doctor *doctor)
{
    enum doctor_level worst = DOCTOR_OK;

    for (unsigned i = 0; i < doctor->count; i++) {
        if (doctor->findings[i].level > worst)
            worst = doctor->findings[i].level;
    }
    return worst;
}

/* ---- findings ---- */

static void write_text(char out[DOCTOR_TEXT], const char *format, va_list arguments)
{
    int len = vsnprintf(out, DOCTOR_TEXT, format, arguments);

    if (len >= DOCTOR_TEXT)
        text_mark_cut(out, DOCTOR_TEXT - 1);
    text_clean(out); /* names of files and variables are somebody else's */
}

struct doctor_finding *doctor_add(struct doctor *doctor, enum doctor_level level,
                                  const char *format, ...)
{
    /* No host has so many; the last one is written over then. */
    unsigned index = doctor->count < DOCTOR_FINDINGS_MAX ? doctor->count++ : doctor->count - 1;
    struct doctor_finding *finding = &doctor->findings[index];
    va_list arguments;

    *finding = (struct doctor_finding){.check = doctor->check, .level = level};
    va_start(arguments, format);
    write_text(finding->found, format, arguments);
    va_end(arguments);
    return finding;
}

void doctor_happens(struct doctor_finding *finding, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_text(finding->happens, format, arguments);
    va_end(arguments);
}

void doctor_mend(struct doctor_finding *finding, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_text(finding->remedy, format, arguments);
    va_end(arguments);
}

void doctor_mend_as_root(struct doctor_finding *finding, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_text(finding->remedy, format, arguments);
    va_end(arguments);
    finding->as_root = true;
}

/* ---- what checks read ---- */

static bool read_whole(const struct doctor *doctor, const char *path, char *out, size_t capacity)
{
    char whole[PATH_ROOM];
    int len = snprintf(whole, sizeof(whole), "%s%s", doctor->root, path);
    long got;

    out[0] = '\0';
    if (len < 0 || len >= PATH_ROOM)
        return false;
    got = os_read_file(doctor->os, whole, out, capacity);
    if (got < 0)
        out[0] = '\0';
    return got >= 0;
}

bool doctor_read(const struct doctor *doctor, const char *path, char *out, size_t capacity)
{
    bool read = read_whole(doctor, path, out, capacity);

    out[strcspn(out, "\n")] = '\0';
    return read;
}

uint64_t doctor_number(const struct doctor *doctor, const char *path, uint64_t fallback)
{
    char text[64];

    if (!doctor_read(doctor, path, text, sizeof(text)) || text[0] < '0' || text[0] > '9')
        return fallback;
    return strtoull(text, NULL, 10);
}

void doctor_choice(const struct doctor *doctor, const char *path, char *out, size_t capacity)
{
    char text[256], *begin, *end;

    out[0] = '\0';
    if (!doctor_read(doctor, path, text, sizeof(text)))
        return;
    begin = strchr(text, '[');
    end = begin != NULL ? strchr(begin, ']') : NULL;
    if (end == NULL)
        return;
    *end = '\0';
    (void)snprintf(out, capacity, "%s", begin + 1);
}

bool doctor_filtered(const struct doctor *doctor)
{
    char text[FILE_ROOM];
    const char *line;

    if (!read_whole(doctor, "/proc/self/status", text, sizeof(text)))
        return false;
    line = strstr(text, "\nSeccomp:");
    return line != NULL && strtol(line + strlen("\nSeccomp:"), NULL, 10) == 2;
}

static bool is_plain(const char *text)
{
    return *text != '\0' && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                         "0123456789_-+=./,:@%") == strlen(text);
}

const char *doctor_quoted(const char *text, char out[DOCTOR_TEXT])
{
    size_t used = 0;

    if (is_plain(text) && strlen(text) < DOCTOR_TEXT) {
        (void)snprintf(out, DOCTOR_TEXT, "%s", text);
        return out;
    }
    out[used++] = '\'';
    for (; *text != '\0' && used + 6 < DOCTOR_TEXT; text++) {
        if (*text == '\'')
            used += (size_t)snprintf(out + used, DOCTOR_TEXT - used, "'\\''");
        else
            out[used++] = *text;
    }
    out[used++] = '\'';
    out[used] = '\0';
    return out;
}

const char *doctor_variable(const struct doctor *doctor, const char *name)
{
    size_t len = strlen(name);

    for (char *const *at = doctor->environment; *at != NULL; at++) {
        if (strncmp(*at, name, len) == 0 && (*at)[len] == '=' && (*at)[len + 1] != '\0')
            return *at + len + 1;
    }
    return NULL;
}
