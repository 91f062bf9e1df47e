/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "library.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handshake.h"

#define LEAVE_PAUSE 1 /* ms between two looks whether the last call has left */

enum state { OFF, CHANGING, READY };

struct library library;

static atomic_int state = OFF;
static atomic_int inside; /* calls under way */
static pid_t owner;       /* the process that initialised */
static int cancel_pipe[2] = {-1, -1};
static struct stat cancel_identity[2];

static void close_cancel_pipe(void)
{
    for (int i = 0; i < 2; i++) {
        struct stat now;

        if (cancel_pipe[i] >= 0 && fstat(cancel_pipe[i], &now) == 0 && now.st_dev == cancel_identity[i].st_dev &&
            now.st_ino == cancel_identity[i].st_ino)
            (void)close(cancel_pipe[i]);
        cancel_pipe[i] = -1;
    }
}

static bool open_cancel_pipe(void)
{
    if (pipe2(cancel_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    cancel_pipe[0] = off_stdio(cancel_pipe[0]);
    cancel_pipe[1] = off_stdio(cancel_pipe[1]);
    if (fstat(cancel_pipe[0], &cancel_identity[0]) == 0 && fstat(cancel_pipe[1], &cancel_identity[1]) == 0)
        return true;
    for (int i = 0; i < 2; i++) {
        (void)close(cancel_pipe[i]);
        cancel_pipe[i] = -1;
    }
    return false;
}

/* In a child: what was inherited is the parent's. Its descriptors are given up, its stream is left alone. */
static void abandon(void)
{
    connection_forget(&library.calls);
    connection_forget(&library.events);
    close_cancel_pipe();
    atomic_store(&inside, 0);
    atomic_store(&state, OFF);
}

/* A child that lives on must not hold the parent's connection, and with it the parent's login, open. */
static void after_fork(void)
{
    if (atomic_load(&state) != OFF)
        abandon();
}

static void register_fork_handler(void)
{
    static atomic_flag registered = ATOMIC_FLAG_INIT;

    if (!atomic_flag_test_and_set(&registered))
        (void)pthread_atfork(NULL, NULL, after_fork);
}

static struct lock *const LOCKS[] = {&library.calls.lock, &library.events.lock, &library.queue.lock};
#define LOCK_COUNT (sizeof LOCKS / sizeof LOCKS[0])

static void destroy_locks(size_t count)
{
    while (count > 0)
        lock_destroy(LOCKS[--count]);
}

static CK_RV open_library(const CK_C_INITIALIZE_ARGS *args)
{
    const CK_C_INITIALIZE_ARGS *callbacks = NULL;
    size_t locks = 0;
    CK_RV rv = CKR_OK;

    memset(&library, 0, sizeof library);
    if (args != NULL && args->CreateMutex != NULL && (args->flags & CKF_OS_LOCKING_OK) == 0) {
        library.callbacks = *args;
        callbacks = &library.callbacks;
    }
    while (rv == CKR_OK && locks < LOCK_COUNT) {
        rv = lock_create(LOCKS[locks], callbacks);
        locks += rv == CKR_OK;
    }
    if (rv == CKR_OK && !open_cancel_pipe())
        rv = CKR_GENERAL_ERROR;
    if (rv != CKR_OK) {
        destroy_locks(locks);
        return rv;
    }
    environment_read(&library.environment);
    connection_init(&library.calls, &library.environment, cancel_pipe[0], true);
    connection_init(&library.events, &library.environment, cancel_pipe[0], false);
    owner = getpid();
    return CKR_OK;
}

CK_RV library_initialize(const CK_C_INITIALIZE_ARGS *args)
{
    int expected = OFF;
    CK_RV rv;

    if (args != NULL) {
        rv = lock_check_arguments(args);
        if (rv != CKR_OK)
            return rv;
    }
    register_fork_handler();
    if (atomic_load(&state) == READY && owner != getpid())
        abandon(); /* a child made by clone(), which runs no fork handler */
    if (!atomic_compare_exchange_strong(&state, &expected, CHANGING))
        return CKR_CRYPTOKI_ALREADY_INITIALIZED;
    rv = open_library(args);
    atomic_store(&state, rv == CKR_OK ? READY : OFF);
    return rv;
}

CK_RV library_finalize(void)
{
    int expected = READY;
    const char byte = 0;

    if (owner != getpid() || !atomic_compare_exchange_strong(&state, &expected, CHANGING))
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    (void)!write(cancel_pipe[1], &byte, 1); /* never read: it wakes every call that waits */
    while (atomic_load(&inside) > 0)
        (void)poll(NULL, 0, LEAVE_PAUSE);
    connection_close(&library.calls);
    connection_close(&library.events);
    destroy_locks(LOCK_COUNT);
    close_cancel_pipe();
    atomic_store(&state, OFF);
    return CKR_OK;
}

CK_RV library_enter(int *cancel_state)
{
    (void)atomic_fetch_add(&inside, 1);
    if (atomic_load(&state) != READY || owner != getpid()) {
        (void)atomic_fetch_sub(&inside, 1);
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    }
    /* A thread cancelled inside would leave its place in the list of those who wait. */
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, cancel_state);
    return CKR_OK;
}

void library_leave(int cancel_state)
{
    (void)atomic_fetch_sub(&inside, 1);
    (void)pthread_setcancelstate(cancel_state, NULL);
}
