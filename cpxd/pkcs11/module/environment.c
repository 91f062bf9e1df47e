/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "environment.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const PASSED_ON[] = {
    "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "GPG_TTY", "LC_ALL", "LC_MESSAGES", "LANG",
};

static const char *absolute(const char *name)
{
    const char *value = secure_getenv(name);

    return value != NULL && value[0] == '/' ? value : NULL;
}

/* The password file's where HOME is not set, as the daemon has it; what is no absolute path is none. */
static const char *find_home(char *record, size_t size)
{
    const char *home = secure_getenv("HOME");
    struct passwd entry, *found = NULL;

    if (home == NULL && getpwuid_r(getuid(), &entry, record, size, &found) == 0 && found != NULL)
        home = entry.pw_dir;
    return home != NULL && home[0] == '/' ? home : NULL;
}

static void find_socket(char *path, size_t size)
{
    const char *given = absolute("CPXD_PKCS11_SOCKET");
    const char *runtime = absolute("XDG_RUNTIME_DIR");
    const char *home = NULL;
    char user[32], record[4096];
    struct stat status;
    int len = -1;

    (void)snprintf(user, sizeof user, "/run/user/%lu", (unsigned long)getuid());
    if (runtime == NULL && stat(user, &status) == 0 && S_ISDIR(status.st_mode))
        runtime = user;
    if (given == NULL && runtime == NULL)
        home = find_home(record, sizeof record);

    if (given != NULL)
        len = snprintf(path, size, "%s", given);
    else if (runtime != NULL)
        len = snprintf(path, size, "%s/cpxd/pkcs11.sock", runtime);
    else if (home != NULL)
        len = snprintf(path, size, "%s/.cache/cpxd/run/pkcs11.sock", home);
    if (len < 0 || (size_t)len >= size)
        path[0] = '\0';
}

/* ";" and "=" and "%" separate; anything that is no plain printable character is escaped too. */
static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~/:@+,", c) != NULL);
}

static size_t encode(char *to, size_t size, const char *name, const char *value)
{
    int written = snprintf(to, size, "%s=", name);
    size_t len = (size_t)written;

    if (written < 0 || len >= size)
        return 0;
    for (; *value != '\0'; value++) {
        if (size - len < 5) /* "%XX", ";" and snprintf's NUL */
            return 0;
        if (is_plain(*value))
            to[len++] = *value;
        else
            len += (size_t)snprintf(to + len, 4, "%%%02X", (unsigned)(unsigned char)*value);
    }
    to[len++] = ';';
    return len;
}

static void collect_options(struct environment *environment)
{
    char *options = environment->options;
    size_t len = (size_t)snprintf(options, OPTIONS_MAX, "cpx1;");

    for (size_t i = 0; i < sizeof PASSED_ON / sizeof PASSED_ON[0]; i++) {
        const char *value = secure_getenv(PASSED_ON[i]);

        if (value != NULL && value[0] != '\0')
            len += encode(options + len, OPTIONS_MAX - len, PASSED_ON[i], value);
    }
    environment->options_len = len;
}

void environment_read(struct environment *environment)
{
    find_socket(environment->socket, sizeof environment->socket);
    collect_options(environment);
    /* A socket named by hand is somebody's who runs the daemon himself. */
    environment->may_start = getauxval(AT_SECURE) == 0 && secure_getenv("CPXD_NO_START") == NULL &&
                             absolute("CPXD_PKCS11_SOCKET") == NULL;
}
