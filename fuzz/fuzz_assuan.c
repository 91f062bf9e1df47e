/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what a pinentry program says: nothing outside is read or written, and only a whole answer fills the secret. */

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "_assuan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static const char COMMANDS[] = "-OPTION grab\nSETDESC x\nGETPIN\n";

static void converse(int from, int to, apdu_secret *secret, bool data_wanted)
{
    assuan *talk = assuan_new(to, from, -1, COMMANDS, sizeof COMMANDS - 1, INT64_MAX);
    int rc;

    require(talk != NULL);
    rc = assuan_run(talk, data_wanted ? secret : NULL);
    assuan_free(talk);
    require(rc == APDU_OK || apdu_secret_len(secret) == 0);
    require(apdu_secret_len(secret) <= APDU_SECRET_MAX);
    require((rc >= APDU_OK && rc <= 0xFFFF) || rc == APDU_E_EOF || rc == APDU_E_LONG || rc == APDU_E_LIMIT || rc == APDU_E_PIN ||
            rc == APDU_E_RESPONSE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int nowhere = -1;
    bool data_wanted = size == 0 || data[0] % 4 != 0;
    apdu_secret *secret = apdu_secret_new();
    int ends[2];

    if (nowhere < 0)
        nowhere = open("/dev/null", O_WRONLY);
    require(nowhere >= 0 && secret != NULL && pipe(ends) == 0);
    if (size > 4096) /* what any pipe takes at once */
        size = 4096;
    require(write(ends[1], data, size) == (ssize_t)size);
    close(ends[1]);
    converse(ends[0], nowhere, secret, data_wanted);
    (void)assuan_is_word(secret, "dernier", 7);
    close(ends[0]);
    apdu_secret_free(secret);
    return 0;
}
