/* SPDX-License-Identifier: Apache-2.0 */
#include "lock.h"


CK_RV lock_check_arguments(const CK_C_INITIALIZE_ARGS *args)
{
    int given = (args->CreateMutex != NULL) + (args->DestroyMutex != NULL) + (args->LockMutex != NULL) +
                (args->UnlockMutex != NULL);

    if (args->pReserved != NULL || (given != 0 && given != 4))
        return CKR_ARGUMENTS_BAD;
    return CKR_OK;
}

CK_RV lock_create(struct lock *lock, const CK_C_INITIALIZE_ARGS *callbacks)
{
    lock->callbacks = callbacks;
    lock->foreign = NULL;
    if (callbacks != NULL)
        return callbacks->CreateMutex(&lock->foreign);
    return pthread_mutex_init(&lock->native, NULL) == 0 ? CKR_OK : CKR_HOST_MEMORY;
}

void lock_destroy(struct lock *lock)
{
    if (lock->callbacks != NULL)
        (void)lock->callbacks->DestroyMutex(lock->foreign);
    else
        (void)pthread_mutex_destroy(&lock->native);
}

CK_RV lock_take(struct lock *lock)
{
    if (lock->callbacks != NULL)
        return lock->callbacks->LockMutex(lock->foreign);
    return pthread_mutex_lock(&lock->native) == 0 ? CKR_OK : CKR_GENERAL_ERROR;
}

void lock_leave(struct lock *lock)
{
    if (lock->callbacks != NULL)
        (void)lock->callbacks->UnlockMutex(lock->foreign);
    else
        (void)pthread_mutex_unlock(&lock->native);
}
