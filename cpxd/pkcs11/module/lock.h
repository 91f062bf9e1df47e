/* SPDX-License-Identifier: Apache-2.0
 *
 * The lock of a connection: the host's four callbacks when it gave them without CKF_OS_LOCKING_OK, a pthread
 * mutex of libc otherwise. The latter also serves a host that promised to be single-threaded: it costs nothing,
 * and some break the promise.
 */
#ifndef CPXD_LOCK_H
#define CPXD_LOCK_H

#include <pthread.h>

#include "pkcs11.h"

struct lock {
    const CK_C_INITIALIZE_ARGS *callbacks; /* NULL: the mutex of libc */
    void *foreign;
    pthread_mutex_t native;
};

/* PKCS#11 2.40, 5.4: all four callbacks or none. */
CK_RV lock_check_arguments(const CK_C_INITIALIZE_ARGS *args);
CK_RV lock_create(struct lock *lock, const CK_C_INITIALIZE_ARGS *callbacks);
void lock_destroy(struct lock *lock);
CK_RV lock_take(struct lock *lock);
void lock_leave(struct lock *lock);

#endif
