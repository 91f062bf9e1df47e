/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libgalcllux.so: a stand-in for the client library of GALSS. Names of the functions and order of their arguments as publicly
 * known; every C type is ASSUMED (simulator/INVENTED.md).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "wire.h"

enum { SESSIONS = 32, NAME = 64, VERSION = 32 };

EXPORT uint16_t OuvrirSession(const char *application, const char *ressource, uint16_t *numSession, uint8_t *numLad);
EXPORT uint16_t FermerSession(uint16_t numSession);
EXPORT uint16_t DebutExclusivite(uint16_t numSession);
EXPORT uint16_t FinExclusivite(uint16_t numSession);
EXPORT uint16_t EcritContexte(uint16_t numSession, const uint8_t *contexte, uint16_t len);
EXPORT uint16_t LitContexte(uint16_t numSession, uint8_t *contexte, uint16_t *len);
EXPORT uint16_t Echange(uint16_t numSession, uint16_t temps, const uint8_t *message, uint16_t *len, uint8_t *reponse,
                        uint16_t *lenRep);
EXPORT uint16_t LireVersion(char *version);

static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static int links[SESSIONS]; /* descriptor + 1; 0: free. Session n stands in links[n - 1]. */

static uint16_t keep(int link)
{
    uint16_t number = 0;

    pthread_mutex_lock(&table);
    for (size_t i = 0; i < SESSIONS && number == 0; i++) {
        if (links[i] == 0) {
            links[i] = link + 1;
            number = (uint16_t)(i + 1);
        }
    }
    pthread_mutex_unlock(&table);
    return number;
}

static int link_of(uint16_t number, int forget)
{
    int link = -1;

    if (number < 1 || number > SESSIONS)
        return -1;
    pthread_mutex_lock(&table);
    link = links[number - 1] - 1;
    if (forget)
        links[number - 1] = 0;
    pthread_mutex_unlock(&table);
    return link;
}

static uint16_t plain(uint16_t number, uint8_t operation, const uint8_t *body, size_t len)
{
    size_t none = 0;
    int link = link_of(number, 0);

    return link < 0 ? NO_SESSION : wire_ask(link, operation, body, len, NULL, &none, WIRE_WAIT);
}

uint16_t OuvrirSession(const char *application, const char *ressource, uint16_t *numSession, uint8_t *numLad)
{
    uint8_t body[2 * NAME];
    uint8_t lad = 0;
    size_t first = strnlen(application, NAME - 1) + 1;
    size_t second = strnlen(ressource, NAME - 1) + 1;
    size_t len = sizeof lad;
    int link = wire_connect();
    uint16_t code = NO_SERVICE;

    if (link < 0)
        return code;
    memset(body, 0, sizeof body);
    memcpy(body, application, first - 1);
    memcpy(body + first, ressource, second - 1);
    code = wire_ask(link, OP_OPEN, body, first + second, &lad, &len, WIRE_WAIT);
    if (code == 0) {
        *numSession = keep(link);
        *numLad = lad;
        if (*numSession == 0)
            code = TOO_MANY;
    }
    if (code != 0)
        close(link);
    return code;
}

uint16_t FermerSession(uint16_t numSession)
{
    uint16_t code = plain(numSession, OP_CLOSE, NULL, 0);
    int link = link_of(numSession, 1);

    if (link < 0)
        return NO_SESSION;
    close(link);
    return code;
}

uint16_t DebutExclusivite(uint16_t numSession)
{
    return plain(numSession, OP_CLAIM, NULL, 0);
}

uint16_t FinExclusivite(uint16_t numSession)
{
    return plain(numSession, OP_YIELD, NULL, 0);
}

uint16_t EcritContexte(uint16_t numSession, const uint8_t *contexte, uint16_t len)
{
    return plain(numSession, OP_WRITE_CONTEXT, contexte, len);
}

uint16_t LitContexte(uint16_t numSession, uint8_t *contexte, uint16_t *len)
{
    size_t got = *len;
    int link = link_of(numSession, 0);
    uint16_t code = link < 0 ? NO_SESSION : wire_ask(link, OP_READ_CONTEXT, NULL, 0, contexte, &got, WIRE_WAIT);

    *len = code == 0 ? (uint16_t)got : 0;
    return code;
}

uint16_t Echange(uint16_t numSession, uint16_t temps, const uint8_t *message, uint16_t *len, uint8_t *reponse, uint16_t *lenRep)
{
    size_t got = *lenRep;
    int link = link_of(numSession, 0);
    uint16_t code = link < 0 ? NO_SESSION : wire_ask(link, OP_EXCHANGE, message, *len, reponse, &got, temps);

    *lenRep = code == 0 ? (uint16_t)got : 0;
    return code;
}

uint16_t LireVersion(char *version)
{
    size_t got = VERSION;
    int link = wire_connect();
    uint16_t code = NO_SERVICE;

    if (link < 0)
        return code;
    code = wire_ask(link, OP_VERSION, NULL, 0, (uint8_t *)version, &got, WIRE_WAIT);
    close(link);
    return code;
}
