/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client interface of GALSS, the part that cpxd calls. Compiled by C and read by cffi: declarations only, no directive.
 *
 * ASSUMED. Public sources give the names of the functions, the order of their arguments, which are pointers, and the fields of
 * the resource record (packed, names of 9 bytes with their final 0). They give no C type. What is assumed here: numbers of
 * 16 bits, LAD of 8 bits, every function returns 0 or a code of the GALSS list (0x0001 to 0x8011), `temps` is the longest wait
 * in milliseconds, the two functions of exclusivity take the session and nothing else, and the table is filled by a library
 * that takes its size from `nombre`. LireVersion, EcritContexte and LitContexte exist too and are not called.
 */

typedef struct {
    char NomAlias[9];
    char NomRessource[9];
    uint8_t AdrLAD;
    uint8_t AdrPAD;
    uint8_t IndexCanal;
    uint8_t TypeCanal; /* 1: serial (PSS), 3: PC/SC */
    uint8_t TypeConnexion;
    uint8_t Protocole;
} galss_ressource;

/* libgalcllux.so */
uint16_t OuvrirSession(const char *application, const char *ressource, uint16_t *numSession, uint8_t *numLad);
uint16_t FermerSession(uint16_t numSession);
uint16_t DebutExclusivite(uint16_t numSession);
uint16_t FinExclusivite(uint16_t numSession);
typedef uint16_t galss_echange(uint16_t numSession, uint16_t temps, const uint8_t *message, uint16_t *len, uint8_t *reponse,
                               uint16_t *lenRep);
galss_echange Echange;

/* libgalinlux.so */
uint16_t DonneNombreRessources(uint16_t *nombre);
uint16_t DonneTableRessources(uint16_t *nombre, galss_ressource *table);
