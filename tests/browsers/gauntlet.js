// SPDX-License-Identifier: Apache-2.0
// What a hostile page can try against the local API. Run in a page; `API` is its address, `ALLOWED` that of a site that the
// person lets in, `VOUCHED` that of one whose certificate was made with the key of localhost's. Each attack tells what the page
// learned; the answer is one JSON object by name. "nothing": no answer at all.

const PATIENCE = 10_000; // milliseconds: what has not come by then does not come
const NONCE = JSON.stringify({ nonce: "n".repeat(44) });
const SIGN = JSON.stringify({ documents: [{ name: "a.txt", content: "YQ==" }] });
const attacks = {};
const loaded = (frame) => Promise.race([later(5000), new Promise((done) => frame.addEventListener("load", done))]);
const later = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds, "nothing"));

// --- fetch, XMLHttpRequest, beacons

function fetching(name, path, init, base = API) {
  attacks[`fetch ${name}`] = async () => {
    try {
      const answer = await fetch(base + path, init);
      return `${answer.type} ${answer.status} ${(await answer.text()).length}`;
    } catch (error) {
      return error.name;
    }
  };
}

const json = { "Content-Type": "application/json" };
const marked = { ...json, "X-Cpxd": "1" };
for (const [name, path, body] of [["info", "/v1/info"], ["readers", "/v1/readers"], ["events", "/v1/events"],
  ["authenticate", "/v1/authenticate", NONCE], ["sign", "/v1/sign", SIGN], ["identity", "/v1/identity", "{}"],
  ["certificates", "/v1/certificates", "{}"], ["situations", "/v1/situations", "{}"]]) {
  fetching(`cors ${name}`, path, { method: body ? "POST" : "GET", headers: body ? marked : { "X-Cpxd": "1" }, body });
  fetching(`no-cors ${name}`, path, { method: body ? "POST" : "GET", mode: "no-cors", body });
}
for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain; application/json"]) {
  const init = { method: "POST", headers: { "Content-Type": type }, body: NONCE };
  fetching(`no-cors ${type}`, "/v1/authenticate", { ...init, mode: "no-cors" });
  fetching(`cors ${type}`, "/v1/authenticate", init);
}
fetching("credentials", "/v1/authenticate", { method: "POST", headers: marked, body: NONCE, credentials: "include" });
fetching("keepalive", "/v1/authenticate", { method: "POST", headers: json, body: NONCE, keepalive: true });
fetching("no body type", "/v1/authenticate", { method: "POST", mode: "no-cors", body: new Blob([NONCE]) });
fetching("stream of bytes", "/v1/authenticate", { method: "POST", mode: "no-cors", body: new TextEncoder().encode(NONCE) });
fetching("PUT", "/v1/authenticate", { method: "PUT", headers: marked, body: NONCE });
fetching("DELETE", "/v1/authenticate", { method: "DELETE" });
fetching("HEAD", "/v1/info", { method: "HEAD", mode: "no-cors" });
fetching("forged origin", "/v1/readers", { headers: { "X-Cpxd": "1", Origin: ALLOWED, Referer: `${ALLOWED}/` } });
fetching("forged fetch metadata", "/v1/readers", { headers: { "X-Cpxd": "1", "Sec-Fetch-Site": "same-origin" } });
fetching("referrer of the site", "/v1/readers", { headers: { "X-Cpxd": "1" }, referrer: "about:client" });
fetching("method override", "/v1/authenticate", { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" }, body: NONCE });
fetching("loopback named", "/v1/readers", { headers: { "X-Cpxd": "1" }, targetAddressSpace: "loopback" });
fetching("by number", "/v1/readers", { headers: { "X-Cpxd": "1" } }, API.replace("localhost", "127.0.0.1"));
fetching("by number 6", "/v1/readers", { headers: { "X-Cpxd": "1" } }, API.replace("localhost", "[::1]"));
fetching("any address", "/v1/readers", { headers: { "X-Cpxd": "1" } }, API.replace("localhost", "0.0.0.0"));
fetching("subdomain of localhost", "/v1/readers", { headers: { "X-Cpxd": "1" } }, API.replace("localhost", "a.localhost"));
fetching("plain http", "/v1/readers", { mode: "no-cors" }, API.replace("https", "http"));
fetching("rebound name", "/v1/readers", { headers: { "X-Cpxd": "1" } }, API.replace("localhost", "rebond.test"));
fetching("rebound name no-cors", "/v1/authenticate", { method: "POST", mode: "no-cors", body: NONCE }, API.replace("localhost", "rebond.test"));
fetching("rebound by redirect", "/vers?/v1/readers", { headers: { "X-Cpxd": "1" } }, "");
fetching("redirect of a POST", "/vers?/v1/authenticate", { method: "POST", headers: marked, body: NONCE }, "");
fetching("redirect no-cors", "/vers?/v1/authenticate", { method: "POST", mode: "no-cors", body: NONCE }, "");
fetching("a site that the certificate of localhost vouches for", "/", { mode: "no-cors" }, VOUCHED);
fetching("user in the address", "/v1/readers", { mode: "no-cors" }, API.replace("//", "//lgc.test@"));

attacks["XMLHttpRequest"] = () => new Promise((done) => {
  const asked = new XMLHttpRequest();
  asked.onloadend = () => done(`${asked.status} ${asked.responseText.length}`);
  asked.open("POST", `${API}/v1/authenticate`);
  asked.setRequestHeader("Content-Type", "text/plain");
  asked.send(NONCE);
});
attacks["XMLHttpRequest upload listener"] = () => new Promise((done) => {
  const asked = new XMLHttpRequest();
  asked.upload.onprogress = () => {};
  asked.onloadend = () => done(`${asked.status} ${asked.responseText.length}`);
  asked.open("POST", `${API}/v1/authenticate`);
  asked.send(NONCE);
});
for (const type of ["text/plain", "application/json", "application/x-www-form-urlencoded"]) {
  attacks[`beacon ${type}`] = async () => {
    navigator.sendBeacon(`${API}/v1/authenticate`, new Blob([NONCE], { type }));
    return later(200);
  };
}

// --- WebSocket, EventSource, WebTransport

function socket(name, protocols, base = API) {
  attacks[`websocket ${name}`] = () => new Promise((done) => {
    try {
      const made = new WebSocket(`${base.replace("http", "ws")}/v1/events`, protocols);
      made.onopen = () => done("opened");
      made.onmessage = ({ data }) => done(`message ${data.length}`);
      made.onclose = ({ code }) => done(`closed ${code}`);
    } catch (error) {
      done(error.name);
    }
  });
}
socket("ours", ["cpxd.v1"]);
socket("other", ["chat"]);
socket("none", []);
socket("by number", ["cpxd.v1"], API.replace("localhost", "127.0.0.1"));
socket("rebound", ["cpxd.v1"], API.replace("localhost", "rebond.test"));
socket("plain", ["cpxd.v1"], API.replace("https", "http"));
attacks["EventSource"] = () => new Promise((done) => {
  const made = new EventSource(`${API}/v1/events`, { withCredentials: true });
  made.onmessage = () => done("message");
  made.onopen = () => done("opened");
  made.onerror = () => (made.close(), done("error"));
});

// --- elements that load what they are told

function element(name, tag, attributes, path = "/v1/readers") {
  attacks[`<${name}>`] = () => new Promise((done) => {
    const made = document.createElement(tag);
    made.onload = () => done("loaded");
    made.onloadedmetadata = () => done("loaded");
    made.onerror = () => done("error");
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value === "URL" ? `${API}${path}?${Math.random()}` : value);
    document.body.append(made);
  });
}
element("img", "img", { src: "URL" });
element("img crossorigin", "img", { src: "URL", crossorigin: "anonymous" });
element("script", "script", { src: "URL" });
element("script module", "script", { src: "URL", type: "module" });
element("link stylesheet", "link", { rel: "stylesheet", href: "URL" });
element("link preload", "link", { rel: "preload", as: "fetch", href: "URL", crossorigin: "use-credentials" });
element("link prefetch", "link", { rel: "prefetch", href: "URL" });
element("audio", "audio", { src: "URL", preload: "auto" });
element("video", "video", { src: "URL", preload: "auto" });
element("input image", "input", { type: "image", src: "URL" });
attacks["import()"] = async () => {
  try {
    return Object.keys(await import(`${API}/v1/readers`)).join();
  } catch (error) {
    return error.name;
  }
};
attacks["<link manifest>"] = async () => {
  const made = document.createElement("link");
  Object.assign(made, { rel: "manifest", href: `${API}/v1/readers` });
  document.head.append(made);
  return later(200);
};
attacks["CSS image and font"] = async () => {
  const style = document.createElement("style");
  style.textContent = `@font-face { font-family: f; src: url(${API}/v1/readers) } body { font-family: f; background: url(${API}/v1/info) }`;
  document.head.append(style);
  return later(200);
};

// --- frames: what a page sees of another one is the number of frames in it, and whether it may look inside

function inside(frame) {
  try {
    return `same origin ${frame.contentDocument.body.innerText.length}`;
  } catch (error) {
    return `${error.name} ${frame.contentWindow.length}`;
  }
}
function framed(name, tag, attribute, attributes, path = "/v1/readers") {
  attacks[`frame ${name}`] = async () => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.setAttribute(attribute, API + path);
    const shown = loaded(made);
    document.body.append(made);
    await (tag === "iframe" ? shown : later(1500));
    return tag === "iframe" ? (made.contentDocument === null ? inside(made) : "no document of theirs") : "nothing";
  };
}
framed("iframe", "iframe", "src", {});
framed("iframe of the page", "iframe", "src", {}, "/");
framed("iframe of the person's own page", "iframe", "src", {}, "/card");
framed("iframe sandboxed", "iframe", "src", { sandbox: "allow-scripts" });
framed("iframe with the permission", "iframe", "src", { allow: "loopback-network; local-network-access" });
framed("object", "object", "data", {});
framed("embed", "embed", "src", {});

function form(name, enctype, method, newTab) {
  attacks[`form ${name}`] = async () => {
    const target = `f${Math.random()}`;
    const frame = document.createElement("iframe");
    if (!newTab) frame.name = target;
    const made = document.createElement("form");
    Object.assign(made, { method, action: `${API}/v1/authenticate`, enctype, target });
    const field = document.createElement("input");
    Object.assign(field, { name: '{"nonce":"' + "n".repeat(44) + '","x":"', value: '"}' });
    made.append(field);
    document.body.append(frame, made);
    const tab = newTab ? window.open("", target) : null;
    made.submit();
    await later(1500);
    tab?.close(); // a page behind another one loads less
    return "nothing";
  };
}
form("text/plain", "text/plain", "POST");
form("urlencoded", "application/x-www-form-urlencoded", "POST");
form("multipart", "multipart/form-data", "POST");
form("GET", "", "GET");
form("in a new tab", "text/plain", "POST", true);

attacks["popup"] = async () => {
  const made = window.open(`${API}/v1/readers`);
  await later(1500);
  try {
    return made === null ? "blocked" : `${made.document.body.innerText.length}`;
  } catch (error) {
    return error.name;
  } finally {
    made?.close();
  }
};
attacks["<a ping>"] = async () => {
  const made = document.createElement("a");
  Object.assign(made, { href: "#ping", ping: `${API}/v1/authenticate` });
  document.body.append(made);
  made.click();
  return later(200);
};

// --- other origins of the same page

function nulled(name, address, sandbox) {
  attacks[`null origin ${name}`] = () => new Promise((done) => {
    const made = document.createElement("iframe");
    if (sandbox) made.sandbox = "allow-scripts";
    addEventListener("message", ({ data, source }) => source === made.contentWindow && done(data));
    const script = `fetch("${API}/v1/readers", { headers: { "X-Cpxd": "1" } }).then((a) => a.text()).then((t) => "read " + t.length, (e) => e.name).then((t) => parent.postMessage(t, "*"))`;
    made.setAttribute(address, address === "srcdoc" ? `<script>${script}<\/script>` : `data:text/html,<script>${encodeURIComponent(script)}</script>`);
    document.body.append(made);
  });
}
nulled("sandbox", "srcdoc", true);
nulled("data", "src", false);
attacks["worker"] = () => new Promise((done) => {
  const script = `fetch("${API}/v1/readers", { headers: { "X-Cpxd": "1" } }).then((a) => a.text()).then((t) => "read " + t.length, (e) => e.name).then(postMessage)`;
  const made = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  made.onmessage = ({ data }) => done(data);
  made.onerror = () => done("error");
});
attacks["allowed site in a frame, told what to do"] = async () => {
  const made = document.createElement("iframe");
  made.src = ALLOWED;
  made.allow = "loopback-network; local-network-access";
  const shown = loaded(made);
  document.body.append(made);
  await shown;
  for (const said of [{ action: "authenticate", nonce: "n".repeat(44) }, NONCE, { type: "web-eid:authenticate" }]) made.contentWindow.postMessage(said, "*");
  try {
    made.contentWindow.fetch(`${API}/v1/readers`);
    return "reached";
  } catch (error) {
    return error.name;
  }
};
attacks["allowed site with the client, in a frame"] = () => new Promise((done) => {
  const made = document.createElement("iframe");
  made.src = `${ALLOWED}/client`;
  made.allow = "loopback-network; local-network-access";
  addEventListener("message", ({ data, source }) => source === made.contentWindow && done(data));
  document.body.append(made);
});
attacks["allowed site in a frame, sent to our script"] = async () => {
  const made = document.createElement("iframe");
  made.src = ALLOWED;
  const shown = loaded(made);
  document.body.append(made);
  await shown;
  try {
    made.contentWindow.location = `javascript:fetch("${API}/v1/readers",{headers:{"X-Cpxd":"1"}})`;
  } catch (error) {
    return error.name;
  }
  return later(500);
};

async function run() {
  const found = {};
  const names = Object.keys(attacks);
  for (let at = 0; at < names.length; at += 12) {
    const some = names.slice(at, at + 12);
    const outcomes = await Promise.all(some.map((name) => Promise.race([later(PATIENCE), attacks[name]()])));
    some.forEach((name, n) => (found[name] = String(outcomes[n])));
  }
  return found;
}
run().then((found) => (document.documentElement.dataset.found = JSON.stringify(found)),
  (error) => (document.documentElement.dataset.failed = String(error.stack ?? error)));
