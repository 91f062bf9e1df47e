/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "startup.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOTE "libcpxd-pkcs11.daemon"
#define ENVIRONMENT_MAX 64

/* <prefix>/lib/pythonX.Y/site-packages/cpxd/pkcs11/module/ holds the module: the prefix is six levels up. */
#define LEVELS_TO_PREFIX 6

extern char **environ;

/* The host's own LD_*, PYTHON* and the like are not for the daemon. */
static const char *const KEPT[] = {
    "HOME=", "USER=", "LOGNAME=", "LANG=", "LC_", "TZ=", "XDG_", "DBUS_SESSION_BUS_ADDRESS=", "DISPLAY=",
    "WAYLAND_DISPLAY=", "XAUTHORITY=", "PCSCLITE_CSOCK_NAME=", "CPXD_",
};

static const char SEARCH_PATH[] = "PATH=/usr/local/bin:/usr/bin:/bin";

/* Nobody else can change it. */
static bool is_safe(const struct stat *status)
{
    return S_ISREG(status->st_mode) && (status->st_uid == 0 || status->st_uid == geteuid()) &&
           (status->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static bool is_trusted(const char *path)
{
    struct stat status;

    return path[0] == '/' && stat(path, &status) == 0 && is_safe(&status) && access(path, X_OK) == 0;
}

static bool read_note(const char *folder, char *path, size_t size)
{
    char note[PATH_MAX];
    struct stat status;
    ssize_t len;
    int fd;

    if (snprintf(note, sizeof note, "%s/" NOTE, folder) >= (int)sizeof note)
        return false;
    fd = open(note, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return false;
    len = fstat(fd, &status) == 0 && is_safe(&status) ? read(fd, path, size - 1) : -1;
    (void)close(fd);
    if (len <= 0)
        return false;
    path[len] = '\0';
    path[strcspn(path, "\r\n")] = '\0';
    return is_trusted(path);
}

static bool find_in_prefix(char *folder, char *path, size_t size)
{
    for (int i = 0; i < LEVELS_TO_PREFIX; i++) {
        char *slash = strrchr(folder, '/');

        if (slash == NULL)
            return false;
        *slash = '\0';
    }
    return snprintf(path, size, "%s/bin/cpxd", folder) < (int)size && is_trusted(path);
}

bool startup_find(char *path, size_t size)
{
    char folder[PATH_MAX];
    char *slash;
    Dl_info self;

    if (dladdr(KEPT, &self) != 0 && self.dli_fname != NULL && realpath(self.dli_fname, folder) != NULL) {
        slash = strrchr(folder, '/');
        if (slash != NULL)
            *slash = '\0';
        if (read_note(folder, path, size) || find_in_prefix(folder, path, size))
            return true;
    }
    return snprintf(path, size, "%s", CPXD_PROGRAM) < (int)size && is_trusted(path);
}

static void choose_environment(char **kept)
{
    size_t count = 0;

    kept[count++] = (char *)(uintptr_t)SEARCH_PATH;
    for (char **entry = environ; entry != NULL && *entry != NULL && count < ENVIRONMENT_MAX - 1; entry++)
        for (size_t i = 0; i < sizeof KEPT / sizeof KEPT[0]; i++)
            if (strncmp(*entry, KEPT[i], strlen(KEPT[i])) == 0) {
                kept[count++] = *entry;
                break;
            }
    kept[count] = NULL;
}

/* fork() without what libc and the host hung on it, and without a SIGCHLD: the host never learns of this child,
 * neither by signal nor by its own wait(). Only async-signal-safe calls may follow in the child. */
static pid_t quiet_fork(void)
{
    return (pid_t)syscall(SYS_clone, 0L, NULL, NULL, NULL, 0L);
}

static _Noreturn void become_daemon(const char *path, char **environment)
{
    char *arguments[] = {(char *)(uintptr_t)path, (char *)(uintptr_t)"serve", NULL};
    sigset_t none;
    int null;

    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setsid();
    (void)umask(077);
    if (quiet_fork() != 0) /* the second: no session leader, no child of the host */
        _exit(0);
    null = open("/dev/null", O_RDWR | O_NOCTTY);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 || chdir("/") != 0 ||
        close_range(3, ~0U, 0) != 0)
        _exit(1);
    (void)execve(path, arguments, environment);
    _exit(1);
}

bool startup_daemon(void)
{
    char path[PATH_MAX];
    char *environment[ENVIRONMENT_MAX];
    sigset_t all, before;
    pid_t child;

    if (!startup_find(path, sizeof path))
        return false;
    choose_environment(environment);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* no handler of the host runs in the child */
    child = quiet_fork();
    if (child == 0)
        become_daemon(path, environment);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    while (child > 0 && waitpid(child, NULL, (int)__WCLONE) < 0 && errno == EINTR)
        continue;
    return child > 0;
}
