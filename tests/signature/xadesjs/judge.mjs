// SPDX-License-Identifier: Apache-2.0
// xadesjs, asked a line at a time: SIGNATURE [DOCUMENT BESIDE IT], paths; it answers "right" or "wrong REASON".
import { webcrypto } from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";
import readline from "node:readline";

const require = createRequire(process.argv[2]);
const { DOMImplementation, DOMParser, XMLSerializer } = require("@xmldom/xmldom");
const xades = require("xadesjs");
require("xml-core").setNodeDependencies({ DOMImplementation, DOMParser, XMLSerializer, xpath: require("xpath") });
xades.Application.setEngine("node", webcrypto);

async function right(path, beside) {
  const doc = xades.Parse(fs.readFileSync(path, "utf8"));
  const signed = new xades.SignedXml(doc);
  signed.LoadXml(doc.getElementsByTagNameNS("http://www.w3.org/2000/09/xmldsig#", "Signature")[0]);
  return signed.Verify(beside === undefined ? undefined : { content: fs.readFileSync(beside) });
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const said = await right(...line.split("\t")).catch((error) => String(error.message).split("\n")[0]);
  console.log(said === true ? "right" : `wrong ${said}`);
}
