/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret typed on a terminal. Echo is off while it is typed and on again on every way out: while we wait, signals that
 * end or stop the process only wake us; the terminal is put back first, then the signal is raised again for whoever
 * handled it before.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "_apdu.h"

static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU};
enum { SIGNAL_COUNT = sizeof SIGNALS / sizeof SIGNALS[0], FIRST_STOP = 4 };

static atomic_flag busy = ATOMIC_FLAG_INIT;
static volatile sig_atomic_t caught[SIGNAL_COUNT];
static volatile sig_atomic_t wake_writer = -1;

static void on_signal(int number)
{
    int saved = errno;
    ssize_t ignored = 0;

    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        if (SIGNALS[i] == number)
            caught[i] = 1;
    }
    ignored = write((int)wake_writer, "", 1); /* a full pipe wakes just as well */
    (void)ignored;
    errno = saved;
}

static void catch_signals(struct sigaction before[SIGNAL_COUNT])
{
    struct sigaction action = {.sa_handler = on_signal};

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        caught[i] = 0;
        sigaction(SIGNALS[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            sigaction(SIGNALS[i], &action, NULL);
    }
}

static void restore_signals(const struct sigaction before[SIGNAL_COUNT])
{
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        sigaction(SIGNALS[i], &before[i], NULL);
}

/* To be called with the terminal and the handlers restored. */
static int raise_caught(int rc)
{
    bool cancelled = false;
    bool stopped = false;

    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        if (!caught[i])
            continue;
        if (i < FIRST_STOP)
            cancelled = true;
        else
            stopped = true;
        raise(SIGNALS[i]); /* a stop returns when the process is continued */
    }
    if (cancelled)
        return APDU_E_CANCELLED;
    return stopped ? APDU_E_INTERRUPTED : rc;
}

static bool any_caught(void)
{
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        if (caught[i])
            return true;
    }
    return false;
}

static int silence(int fd, const struct termios *before)
{
    struct termios silent = *before;
    int rc;

    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    silent.c_lflag |= ICANON | ISIG;
    do
        rc = tcsetattr(fd, TCSANOW, &silent);
    while (rc != 0 && errno == EINTR && !any_caught());
    if (rc == 0)
        return APDU_OK;
    return any_caught() ? APDU_E_INTERRUPTED : APDU_E_TERMINAL;
}

/* Also from the background: a blocked SIGTTOU lets tcsetattr through. */
static void give_back(int fd, const struct termios *before)
{
    sigset_t output;
    sigset_t mask;

    sigemptyset(&output);
    sigaddset(&output, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &output, &mask);
    while (tcsetattr(fd, TCSANOW, before) != 0 && errno == EINTR)
        ;
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static void write_all(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t n = write(fd, text, left);
        if (n <= 0)
            return; /* a prompt that cannot be shown is no reason to fail; the read will tell */
        text += n;
        left -= (size_t)n;
    }
}

static int ask(apdu_secret *secret, int fd, int wake, const char *prompt, int64_t deadline)
{
    struct termios before;
    int rc;

    if (tcgetattr(fd, &before) != 0)
        return APDU_E_TERMINAL;
    rc = silence(fd, &before);
    if (rc != APDU_OK)
        return rc;
    tcflush(fd, TCIFLUSH); /* what was typed before the prompt was echoed, and meant for somebody else */
    write_all(fd, prompt);
    do
        rc = apdu_secret_read_line(secret, fd, wake, deadline);
    while (rc == APDU_E_INTERRUPTED && !any_caught());
    if (rc != APDU_OK)
        tcflush(fd, TCIFLUSH); /* half a secret must not reach the shell */
    write_all(fd, "\n");
    give_back(fd, &before);
    return rc;
}

static int ask_once(apdu_secret *secret, int fd, const char *prompt, int64_t deadline)
{
    struct sigaction before[SIGNAL_COUNT];
    int wake[2];
    int rc;

    if (pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0)
        return APDU_E_SYSTEM;
    wake_writer = wake[1];
    catch_signals(before);
    rc = ask(secret, fd, wake[0], prompt, deadline);
    restore_signals(before);
    wake_writer = -1;
    close(wake[0]);
    close(wake[1]);
    return raise_caught(rc);
}

int apdu_secret_read_terminal(apdu_secret *secret, const char *path, const char *prompt, int64_t deadline)
{
    int fd = -1;
    int rc = APDU_E_TERMINAL;

    if (atomic_flag_test_and_set(&busy))
        return APDU_E_BUSY;
    fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || !isatty(fd))
        goto done;
    do {
        apdu_secret_wipe(secret);
        rc = ask_once(secret, fd, prompt, deadline);
    } while (rc == APDU_E_INTERRUPTED);
    if (rc != APDU_OK)
        apdu_secret_wipe(secret);
done:
    if (fd >= 0)
        close(fd);
    atomic_flag_clear(&busy);
    return rc;
}
