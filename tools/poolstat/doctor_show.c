/* SPDX-License-Identifier: MIT */
/* poolstat doctor: what was found, for people and as JSON. */
#define _GNU_SOURCE 1

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../common/help.h"
#include "../common/json.h"
#include "doctor.h"
#include "show.h"
#include "spillway/version.h"

/* Goes up when a name changes its meaning or goes away, not when one is added. */
enum { DOCTOR_SCHEMA = 1, LEVELS = 3, INDENT = 27 };

static const struct {
    const char *name, *colour;
} levels[LEVELS] = {
    [DOCTOR_OK] = {"ok", "\033[32m"},
    [DOCTOR_FALLS_BACK] = {"falls back", "\033[33m"},
    [DOCTOR_BROKEN] = {"broken", "\033[31m"},
};

static bool wants_colour(void)
{
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");

    return isatty(STDOUT_FILENO) && (no_colour == NULL || *no_colour == '\0') && terminal != NULL &&
           *terminal != '\0' && strcmp(terminal, "dumb") != 0;
}

static void print_finding(const struct doctor_finding *finding, bool colour)
{
    printf("%s%-10s%s  %-13s ", colour ? levels[finding->level].colour : "",
           levels[finding->level].name, colour ? "\033[0m" : "", finding->check->name);
    help_wrapped(finding->found, INDENT - 1, INDENT - 1);
    if (finding->happens[0] != '\0') {
        printf("%*s", INDENT - 1, "");
        help_wrapped(finding->happens, INDENT - 1, INDENT - 1);
    }
    /* A command is not wrapped, so that it can be copied. */
    if (finding->remedy[0] != '\0')
        printf("%*smend%s: %s\n", INDENT - 1, "", finding->as_root ? " (as root)" : "",
               finding->remedy);
}

static void print_text(const struct doctor *doctor)
{
    unsigned counts[LEVELS] = {0};
    bool colour = wants_colour();
    struct utsname host;

    if (uname(&host) == 0)
        printf("%s, Linux %s on %s, user %lu\n", host.nodename, host.release, host.machine,
               (unsigned long)geteuid());
    for (unsigned i = 0; i < doctor->count; i++) {
        const struct doctor_finding *finding = &doctor->findings[i];

        print_finding(finding, colour);
        counts[finding->level]++;
    }
    printf("%u ok, %u fall%s back, %u broken\n", counts[DOCTOR_OK], counts[DOCTOR_FALLS_BACK],
           counts[DOCTOR_FALLS_BACK] == 1 ? "s" : "", counts[DOCTOR_BROKEN]);
}

static void pair(struct json *json, const char *key, const char *text)
{
    json_key(json, key);
    json_text(json, text);
}

static void put_finding(struct json *json, const struct doctor_finding *finding)
{
    json_open(json, '{', false);
    pair(json, "check", finding->check->name);
    pair(json, "level", levels[finding->level].name);
    pair(json, "found", finding->found);
    pair(json, "happens", finding->happens);
    pair(json, "mend", finding->remedy);
    json_key(json, "as_root");
    json_bool(json, finding->as_root);
    json_close(json, '}');
}

static void print_json(const struct doctor *doctor)
{
    struct utsname host;
    struct json json;

    json_begin(&json, stdout);
    json_open(&json, '{', false);
    json_key(&json, "doctor_schema");
    json_count(&json, DOCTOR_SCHEMA);
    pair(&json, "version", spw_version_text());
    pair(&json, "kernel", uname(&host) == 0 ? host.release : "");
    json_key(&json, "user");
    json_count(&json, geteuid());
    pair(&json, "worst", levels[doctor_worst(doctor)].name);
    json_key(&json, "findings");
    json_open(&json, '[', false);
    for (unsigned i = 0; i < doctor->count; i++)
        put_finding(&json, &doctor->findings[i]);
    json_close(&json, ']');
    json_close(&json, '}');
}

int show_doctor(const struct args *args)
{
    struct doctor *doctor = malloc(sizeof(*doctor)); /* settings are large */
    int code = CHECK_UNKNOWN;

    if (doctor == NULL || doctor_open(doctor, &os_linux, "", environ) != 0) {
        fputs("poolstat: no memory\n", stderr);
    } else if (doctor_run(doctor, args->names[0] != NULL ? args->names : NULL) != 0) {
        fputs("poolstat: doctor: no such check; poolstat(1) lists them\n", stderr);
        doctor_close(doctor);
    } else {
        if (args->json)
            print_json(doctor);
        else
            print_text(doctor);
        code = (int)doctor_worst(doctor);
        if (show_end(EXIT_FINE) != EXIT_FINE)
            code = CHECK_UNKNOWN;
        doctor_close(doctor);
    }
    free(doctor);
    return code;
}
