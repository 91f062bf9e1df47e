/* SPDX-License-Identifier: Apache-2.0 */
/* libgalinlux.so: a stand-in for the information library of GALSS. Types ASSUMED as in client.c. */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "wire.h"

enum { RECORD = 9 + 9 + 6 }; /* packed: alias, resource, LAD, PAD, channel, its type, connection, protocol */

EXPORT uint16_t DonneNombreRessources(uint16_t *nombre);
EXPORT uint16_t DonneTableRessources(uint16_t *nombre, uint8_t *table);

static uint16_t once(uint8_t operation, uint8_t *out, size_t *len)
{
    int link = wire_connect();
    uint16_t code = NO_SERVICE;

    if (link < 0)
        return code;
    code = wire_ask(link, operation, NULL, 0, out, len, WIRE_WAIT);
    close(link);
    return code;
}

uint16_t DonneNombreRessources(uint16_t *nombre)
{
    size_t len = sizeof *nombre;

    return once(OP_COUNT, (uint8_t *)nombre, &len);
}

uint16_t DonneTableRessources(uint16_t *nombre, uint8_t *table)
{
    uint8_t found[WIRE_MAX];
    size_t len = sizeof found;
    size_t count;
    uint16_t code = once(OP_TABLE, found, &len);

    if (code != 0)
        return code;
    count = len / RECORD < *nombre ? len / RECORD : *nombre;
    memcpy(table, found, count * RECORD);
    *nombre = (uint16_t)count;
    return 0;
}
