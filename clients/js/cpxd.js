// SPDX-License-Identifier: Apache-2.0
// Asks cpxd by fetch and TLS alone: no message that another script could forge passes through the page.

const DIALOG = 130_000; // milliseconds: a person answers a dialog in at most two minutes
const DIALOGS = 3; // beside one for each document: a consent, a warning before the last try, the PIN

export class CpxdError extends Error {
  constructor(status, { code, fault, retry, fr, en }) {
    super(`${code} ${en}`);
    this.name = "CpxdError";
    Object.assign(this, { status, code, fault, retry, fr, en });
  }
}

const absent = {
  code: "CPX-NO-AGENT",
  fault: "workstation",
  retry: true,
  fr: "cpxd ne répond pas à cette page : il n'est pas démarré, le site n'est pas autorisé (cpxd allow), ou le navigateur refuse son certificat ou l'accès local.",
  en: "cpxd does not answer this page: it is not running, the site is not allowed (cpxd allow), or the browser refuses its certificate or local access.",
};

const framed = {
  code: "CPX-FRAMED",
  fault: "software",
  retry: false,
  fr: "Cette page est affichée dans celle d'un autre site, qui pourrait la faire cliquer : la carte n'est pas demandée.",
  en: "This page is shown inside another site's, which could have it clicked: the card is not asked for.",
};

export class Cpxd {
  #base;
  #fetch;
  #framed;

  constructor({ base = "https://localhost:14443", fetch = globalThis.fetch.bind(globalThis), framed = false } = {}) {
    this.#base = base;
    this.#fetch = fetch;
    this.#framed = framed;
  }

  info = (options) => this.#ask("GET", "/v1/info", undefined, options);
  readers = (options) => this.#ask("GET", "/v1/readers", undefined, options);
  identity = (body = {}, options) => this.#ask("POST", "/v1/identity", body, options);
  certificates = (body = {}, options) => this.#ask("POST", "/v1/certificates", body, options);
  situations = (body = {}, options) => this.#ask("POST", "/v1/situations", body, options);
  authenticate = (body, options) => this.#ask("POST", "/v1/authenticate", body, options);
  sign = (body, options) => this.#ask("POST", "/v1/sign", body, options);

  /** The readers, now and at each change, until the signal aborts. */
  async *events({ signal } = {}) {
    const answer = await this.#send("GET", "/v1/events", undefined, signal);
    if (!answer.ok) throw await failure(answer);
    const decoder = new TextDecoder();
    let left = "";
    try {
      for await (const block of blocks(answer.body)) {
        left += decoder.decode(block, { stream: true });
        const lines = left.split("\n");
        left = lines.pop();
        for (const line of lines) yield JSON.parse(line);
      }
    } catch (error) {
      throw signal?.aborted ? error : new CpxdError(0, absent);
    }
  }

  async #ask(method, path, body, { signal } = {}) {
    const limit = AbortSignal.timeout(DIALOG * (DIALOGS + (body?.documents?.length ?? 0)));
    const answer = await this.#send(method, path, body, signal ? AbortSignal.any([signal, limit]) : limit);
    if (!answer.ok) throw await failure(answer);
    return answer.json();
  }

  async #send(method, path, body, signal) {
    if (!this.#framed && inAnothersPage()) throw new CpxdError(0, framed);
    const headers = { "X-Cpxd": "1" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const init = { method, headers, signal, mode: "cors", credentials: "omit", cache: "no-store", redirect: "error" };
    if (body !== undefined) init.body = JSON.stringify(body);
    try {
      return await this.#fetch(this.#base + path, init);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new CpxdError(0, absent);
    }
  }
}

function inAnothersPage() {
  try {
    return globalThis.top !== undefined && globalThis.top.origin !== globalThis.origin;
  } catch {
    return true; // another origin's window may not be looked into
  }
}

async function failure(answer) {
  try {
    return new CpxdError(answer.status, (await answer.json()).error);
  } catch {
    return new CpxdError(answer.status, absent);
  }
}

async function* blocks(stream) {
  const reader = stream.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
  } finally {
    await reader.cancel();
  }
}
