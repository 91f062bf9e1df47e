/* SPDX-License-Identifier: Apache-2.0 */
/* xmlsec1 with its second back end: xmlsec_nss DOCUMENT AUTHORITY.der... ; exit 0 when NSS believes the signature.
 *
 * Debian 12 builds the command xmlsec1 with OpenSSL alone ("dynamic xmlsec-crypto library loading is disabled"), and the library
 * with NSS beside it.
 */
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdio.h>
#include <xmlsec/nss/app.h>
#include <xmlsec/nss/crypto.h>
#include <xmlsec/xmldsig.h>
#include <xmlsec/xmlsec.h>
#include <xmlsec/xmltree.h>

static void name_ids(xmlDocPtr doc, xmlNodePtr node) {
    static const char *const names[] = {"Id", "ID"};
    for (; node != NULL; node = node->next) {
        if (node->type != XML_ELEMENT_NODE)
            continue;
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            xmlAttrPtr found = xmlHasNsProp(node, (const xmlChar *)names[i], NULL);
            xmlChar *value = found == NULL ? NULL : xmlNodeListGetString(doc, found->children, 1);
            if (value != NULL && xmlGetID(doc, value) == NULL)
                xmlAddID(NULL, doc, value, found);
            xmlFree(value);
        }
        name_ids(doc, node->children);
    }
}

static int verify(const char *path, xmlSecKeysMngrPtr keys) {
    int right = 0;
    xmlSecDSigCtxPtr context = NULL;
    xmlDocPtr doc = xmlReadFile(path, NULL, XML_PARSE_NONET);
    xmlNodePtr node = doc == NULL ? NULL : xmlDocGetRootElement(doc);
    if (node == NULL)
        goto end;
    name_ids(doc, node);
    node = xmlSecFindNode(node, xmlSecNodeSignature, xmlSecDSigNs);
    context = xmlSecDSigCtxCreate(keys);
    if (node != NULL && context != NULL && xmlSecDSigCtxVerify(context, node) == 0)
        right = context->status == xmlSecDSigStatusSucceeded;
end:
    if (context != NULL)
        xmlSecDSigCtxDestroy(context);
    if (doc != NULL)
        xmlFreeDoc(doc);
    return right;
}

int main(int argc, char **argv) {
    xmlSecKeysMngrPtr keys = NULL;
    int right = 0;
    if (argc < 3 || xmlSecInit() < 0 || xmlSecNssAppInit(NULL) < 0 || xmlSecNssInit() < 0)
        return 2;
    keys = xmlSecKeysMngrCreate();
    if (keys == NULL || xmlSecNssAppDefaultKeysMngrInit(keys) < 0)
        return 2;
    for (int i = 2; i < argc; i++)
        if (xmlSecNssAppKeysMngrCertLoad(keys, argv[i], xmlSecKeyDataFormatDer, xmlSecKeyDataTypeTrusted) < 0)
            return 2;
    right = verify(argv[1], keys);
    xmlSecKeysMngrDestroy(keys);
    puts(right ? "OK" : "FAIL");
    return right ? 0 : 1;
}
