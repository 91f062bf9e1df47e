/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets that a card refused, as salted digests: never sent to it again. Four digits are found from a digest and its
   salt in no time, so both stay in locked memory. */

#define _GNU_SOURCE
#include <string.h>
#include <sys/random.h>

#include "_apdu.h"

enum { SALT = 32, DIGEST = 32, ENTRIES = 64 };

struct apdu_refused {
    uint8_t salt[SALT];
    size_t count; /* ever added */
    uint8_t digests[ENTRIES][DIGEST];
};

apdu_refused *apdu_refused_new(void)
{
    apdu_refused *refused = apdu_locked_new(sizeof *refused);

    if (refused != NULL && getrandom(refused->salt, SALT, 0) != SALT) {
        apdu_locked_free(refused, sizeof *refused);
        return NULL;
    }
    return refused;
}

void apdu_refused_free(apdu_refused *refused)
{
    apdu_locked_free(refused, sizeof *refused);
}

void apdu_refused_clear(apdu_refused *refused)
{
    apdu_wipe(refused->digests, sizeof refused->digests);
    refused->count = 0;
}

int apdu_refused_add(apdu_refused *refused, const apdu_secret *secret)
{
    int rc = apdu_secret_digest(secret, refused->salt, SALT, refused->digests[refused->count % ENTRIES]);

    if (rc == APDU_OK)
        refused->count++;
    return rc;
}

int apdu_refused_holds(const apdu_refused *refused, const apdu_secret *secret)
{
    uint8_t digest[DIGEST];
    size_t known = refused->count < ENTRIES ? refused->count : ENTRIES;
    int found = 0;
    int rc = apdu_secret_digest(secret, refused->salt, SALT, digest);

    for (size_t i = 0; rc == APDU_OK && i < known; i++)
        found |= memcmp(refused->digests[i], digest, DIGEST) == 0;
    apdu_wipe(digest, sizeof digest);
    return rc == APDU_OK ? found : rc;
}
