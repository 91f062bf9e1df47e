// SPDX-License-Identifier: Apache-2.0
// The buttons of the demonstration page. What the card does is asked of cpxd, by the client that is shipped to sites.

import { Cpxd, CpxdError } from "./cpxd.js";

const english = document.documentElement.lang === "en";
const say = (fr, en) => (english ? en : fr);
const at = (id) => document.getElementById(id);
const cpxd = new Cpxd({ base: document.querySelector("script[data-api]").dataset.api });

const states = {
  "no-card": ["pas de carte", "no card"],
  busy: ["pris par un autre logiciel", "held by another program"],
  unsupported: ["carte inconnue", "unknown card"],
  mute: ["carte muette", "mute card"],
  damaged: ["carte abîmée", "damaged card"],
  reading: ["lecture en cours", "being read"],
  ready: ["prête", "ready"],
  "pin-last-try": ["dernier essai du code", "last try of the PIN"],
  "pin-blocked": ["code bloqué", "PIN blocked"],
  "puk-blocked": ["carte bloquée", "card blocked"],
  expired: ["expirée", "expired"],
  revoked: ["en opposition", "revoked"],
};

// A click: browsers may ask for access to the local network then, and only then.
function does(id, action) {
  at(id).addEventListener("click", async () => {
    at("error").hidden = true;
    at(id).disabled = true;
    try {
      await action();
    } catch (error) {
      const told = error instanceof CpxdError ? say(error.fr, error.en) : String(error.message ?? error);
      at("error").textContent = told;
      at("error").dataset.code = error.code ?? "";
      at("error").hidden = false;
    }
    at(id).disabled = false;
    access();
  });
}

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

async function access() {
  for (const name of ["loopback-network", "local-network-access"]) {
    try {
      const { state } = await navigator.permissions.query({ name });
      const words = {
        granted: ["accordé", "granted"],
        denied: ["refusé par le navigateur", "refused by the browser"],
        prompt: ["le navigateur le demandera", "the browser will ask"],
      };
      at("access").textContent = say("Accès local : ", "Local access: ") + say(...words[state]);
      return;
    } catch {
      // a browser that does not know the permission by this name
    }
  }
  at("access").textContent = "";
}

does("list", async () => {
  const { readers } = await cpxd.readers();
  const lines = readers.map(({ name, state, generation, pin }) => {
    const line = document.createElement("li");
    const tries = pin ? say(`, ${pin.tries_left} essais`, `, ${pin.tries_left} tries`) : "";
    line.textContent = `${name}${say(" : ", ": ")}${generation ?? ""} ${say(...(states[state] ?? [state, state]))}${tries}`;
    line.dataset.state = state;
    return line;
  });
  at("cards").replaceChildren(...lines);
});

does("authenticate", async () => {
  const { nonce } = await post("/carte/nonce", {});
  const token = await cpxd.authenticate({ nonce });
  at("holder").dataset.token = JSON.stringify(token);
  at("holder").dataset.nonce = nonce;
  const { identifier, name } = await post("/carte/login", token);
  at("holder").textContent = say(`Connecté : ${name} (${identifier})`, `Logged in: ${name} (${identifier})`);
  at("holder").dataset.identifier = identifier;
});

does("sign", async () => {
  const bytes = new TextEncoder().encode(at("document").value);
  const content = btoa(String.fromCharCode(...bytes));
  const { signatures } = await cpxd.sign({ documents: [{ name: "ordonnance.txt", content }] });
  const [{ name, content: signature }] = signatures;
  const link = document.createElement("a");
  link.href = `data:application/pkcs7-signature;base64,${signature}`;
  link.download = name;
  link.textContent = say(`Signé : ${name}`, `Signed: ${name}`);
  at("signed").replaceChildren(link);
  at("signed").dataset.signature = signature;
});

access();
