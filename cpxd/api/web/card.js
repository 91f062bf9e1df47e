// SPDX-License-Identifier: Apache-2.0
// The page "Ma carte": shows what the service says, in the language chosen. The key lives in this closure alone.
"use strict";
(() => {
  const meta = document.querySelector("meta[name=key]");
  const key = meta.content;
  meta.remove();
  history.replaceState(null, "", "/card"); // the token has been used: nothing of it stays in the address

  const words = JSON.parse(document.getElementById("words").textContent);
  const by = (id) => document.getElementById(id);
  const main = by("main");
  const state = { language: document.documentElement.lang, reader: null, view: null, doctor: null, busy: false };
  let said = null; // [word or pair, bad]
  let insertion = "", lives = ""; // of all readers: cards put in and taken out; the same, and screens locked
  let missed = false; // something of that happened while a dialog was open

  const pick = (pair) => pair[state.language === "en" ? 1 : 0];
  const t = (word, values = {}) =>
    pick(words[word]).replace(/\{(\w+)\}/g, (_, name) => (name in values ? String(values[name]) : "?"));

  const day = (text) =>
    new Date(text).toLocaleDateString(state.language === "en" ? "en-GB" : "fr-FR", { day: "numeric", month: "long", year: "numeric" });
  const moment = (text) => {
    const date = new Date(text.replace(/([+-]\d\d)(\d\d)$/, "$1:$2"));
    return Number.isNaN(date.getTime()) ? text : date.toLocaleString(state.language === "en" ? "en-GB" : "fr-FR", { dateStyle: "short", timeStyle: "short" });
  };

  // --- elements: text only, never markup

  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "click") made.addEventListener("click", value);
      else if (value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };
  const section = (word, wide, ...children) =>
    make("section", { "aria-labelledby": `h-${word}`, class: wide ? "wide" : null }, make("h2", { id: `h-${word}` }, t(word)), ...children);
  const rows = (pairs) =>
    make("dl", {}, ...pairs.filter(([, value]) => value).flatMap(([word, value]) => [make("dt", {}, t(word)), make("dd", {}, value)]));
  const tag = (kind, text) => make("span", { class: `tag ${kind}` }, text);
  const button = (id, word, act, kind) =>
    make("button", { type: "button", id, class: kind, click: act, "aria-disabled": state.busy ? "true" : null }, t(word));
  const coded = (value) => (value ? (value.label ? `${value.label} (${value.code})` : value.code) : "");

  // --- the sections

  const holder = (view) => {
    const { card, holder: person, profession, specialty } = view.card;
    const name = [person.title, person.given_names, person.family_name].filter(Boolean).join(" ");
    const other = view.professional_name !== person.family_name ? view.professional_name : "";
    return section("holder", false, make("p", { class: "name" }, name || view.pseudonym || t("anonymous")), rows([
      ["professional_name", other],
      ["profession", coded(profession)],
      ["specialty", coded(specialty)],
      ["identifier", person.identifier && person.identifier.number],
      ["card", [card.kind, card.generation].filter(Boolean).join(" · ")],
      ["card_number", card.number],
    ]), card.category === "test" ? make("p", {}, tag("warn", t("test_card"))) : null);
  };

  const validity = (view) => {
    const { state: how, until, days, revocation } = view.validity;
    const kind = how === "valid" ? "good" : how === "expires_soon" || how === "unknown" ? "warn" : "bad-tag";
    const left = how === "not_yet_valid" || how === "expired" || days === null ? "" : days > 1 ? t("days_many", { n: days }) : days === 1 ? t("days_one") : t("days_none");
    const why = revocation.why ? pick(revocation.why) : "";
    const answers = {
      good: ["good", () => t("good", { date: day(revocation.until) })],
      revoked: ["bad-tag", () => t("revoked", { date: day(revocation.since), why })],
      unknown: ["warn", () => t("not_known", { why })],
    };
    const [mark, text] = answers[revocation.state];
    return section("validity", false, make("p", {}, tag(kind, t(how))), rows([
      ["until", until ? make("span", {}, day(until), left ? make("strong", {}, ` – ${left}`) : "") : t("unknown")],
      ["revocation", mark === "warn" ? text() : tag(mark, text())],
    ]));
  };

  const codes = (view) => {
    const { pin, unblock } = view.card;
    const count = pin.tries_left === 1 ? t("try", { most: view.most }) : t("tries", { n: pin.tries_left, most: view.most });
    const dots = "●".repeat(pin.tries_left) + "○".repeat(Math.max(0, view.most - pin.tries_left));
    const lost = pin.blocked && view.unblock_blocked;
    const hint = lost ? "lost_hint" : pin.blocked ? "blocked_hint" : pin.tries_left === 1 ? "last_try" : null;
    return section("codes", false, rows([
      ["pin", make("span", {}, make("span", { class: "dots", role: "img", "aria-label": count }, dots), " ", pin.blocked ? tag("bad-tag", t("blocked")) : make("span", { "aria-hidden": "true" }, count))],
      ["unblock_code", view.unblock_blocked ? tag("bad-tag", t("blocked")) : unblock.tries_left === 1 ? t("try_left") : t("tries_left", { n: unblock.tries_left })],
    ]), hint ? make("p", {}, t(hint)) : null, lost ? null : make("div", { class: "buttons" },
      pin.blocked ? button("unblock", "unblock", () => act("unblock", "unblocked"), "main") : button("change", "change", () => act("change", "changed"), null)));
  };

  const situation = (item) => {
    const parts = [item.organization_name, item.organization_identifier && item.organization_identifier.number, coded(item.activity_sector), coded(item.practice_mode)];
    return make("li", {}, `${item.number}. ${parts.filter(Boolean).join(" · ") || t("not_decoded")}`);
  };

  const situations = (view) => {
    const known = view.card.situations;
    if (known && known.length) return section("situations", false, make("ol", {}, ...known.map(situation)));
    if (known) return section("situations", false, make("p", {}, t("situations_none")));
    return section("situations", false, make("p", { class: "hint" }, t("situations_hidden")),
      view.card.pin.blocked ? null : make("div", { class: "buttons" }, button("situations", "read_situations", () => act("situations", "situations_read"), null)));
  };

  const sheet = (found) => {
    const marks = { yes: "good", no: "bad-tag", conditional: "warn" };
    const row = ({ service, value, note }) => make("tr", {}, make("th", { scope: "row" }, t(`service_${service}`)),
      make("td", {}, marks[value] ? tag(marks[value], t(value)) : t(value), note ? make("span", { lang: "fr" }, ` ${note}`) : null));
    const numbers = found.situations.length ? ` – ${t("situations")} ${found.situations.join(", ")}` : "";
    return make("details", { id: `sheet-${found.holder}-${found.card}`, open: found.doubt ? null : "" },
      make("summary", {}, make("span", { lang: "fr" }, `${found.holder} (${found.card})`), numbers),
      found.doubt ? make("p", { class: "hint" }, t("possible", { why: pick(found.doubt) })) : null,
      make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, t("service")), make("th", { scope: "col" }, t("right")))),
        make("tbody", {}, ...found.usages.filter(({ value }) => value !== "not_mentioned").map(row))));
  };

  const usages = (view) => {
    const lost = view.usages.some((found) => found.usages.some(({ value }) => value === "unknown"));
    const doubtful = view.card.situations === null && view.usages.some(({ doubt }) => doubt);
    return section("usages", true, doubtful ? make("p", { class: "hint" }, t("which_sheet")) : null, ...(view.usages.length ? view.usages.map(sheet) : [make("p", {}, t("usages_none"))]),
      lost ? make("p", { class: "hint" }, t("lost_mark")) : null, make("p", { class: "hint" }, t("source")));
  };

  const RANK = ["error", "unknown", "warning", "info"]; // the first cause first
  const finding = ({ code, status, texts }) => {
    const { title, detail, fix } = texts[state.language];
    const kind = status === "error" ? "bad-tag" : status === "info" ? "good" : "warn";
    return make("li", {}, tag(kind, `${t(status)}${code ? ` ${code}` : ""}`), make("p", {}, make("strong", {}, title)),
      detail ? make("p", {}, detail) : null,
      fix ? make("p", {}, `${t("fix")} `, fix.kind === "command" ? make("code", {}, fix.value) : fix.value) : null);
  };

  const doctor = () => {
    const found = state.doctor;
    const shown = found === null ? [make("p", {}, t("examining"))] : [
      make("p", {}, found.first ? tag("warn", t("deal_with", { code: found.first })) : tag("good", t("all_well"))),
      make("ul", { id: "findings" }, ...[...found.checks].sort((one, other) => RANK.indexOf(one.status) - RANK.indexOf(other.status)).map(finding))];
    return section("doctor", true, ...shown, make("p", { class: "hint" }, t("no_try_spent")),
      make("div", { class: "buttons" }, button("again", "again", () => examine("examined"), null)));
  };

  const event = (entry) => {
    const word = [`event_${entry.event}_${entry.operation}`, `event_${entry.event}`].find((name) => name in words);
    const more = [entry.generation, entry.code].filter(Boolean).join(" ");
    return make("li", {}, make("time", { datetime: entry.time }, moment(entry.time)), `${t(word)}${more ? ` – ${more}` : ""}`);
  };

  const events = (view) =>
    section("events", true, view.events.length ? make("ol", {}, ...view.events.map(event)) : make("p", {}, t("events_none")));

  const trouble = (found) =>
    make("section", { class: "wide", "aria-labelledby": "h-card" }, make("h2", { id: "h-card" }, t("card")),
      make("p", { id: "trouble" }, tag("bad-tag", found.code), " ", found[state.language]));

  // --- the whole

  const show = () => {
    const focused = document.activeElement && document.activeElement.id;
    document.documentElement.lang = state.language;
    document.title = `${t("title")} – cpxd`;
    for (const element of document.querySelectorAll("[data-word]")) element.textContent = t(element.dataset.word);
    for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", t(element.dataset.label));
    for (const language of ["fr", "en"]) by(language).setAttribute("aria-pressed", String(state.language === language));
    by("said").textContent = said === null ? "" : typeof said[0] === "string" ? t(said[0]) : pick(said[0]);
    by("said").className = said !== null && said[1] ? "bad" : "";
    const { view } = state;
    if (view !== null) {
      choices(view);
      const parts = view.trouble ? [trouble(view.trouble)] : [holder(view), validity(view), codes(view), situations(view), usages(view)];
      const open = new Set([...document.querySelectorAll("details[open]")].map(({ id }) => id));
      main.replaceChildren(...parts.slice(0, 4), doctor(), ...parts.slice(4), events(view));
      for (const details of document.querySelectorAll("details")) details.open ||= open.has(details.id);
    }
    if (focused && by(focused)) by(focused).focus();
  };

  const choices = (view) => {
    const present = view.readers.filter((reader) => reader.state !== "no-card");
    by("readers").hidden = present.length < 2;
    by("reader").replaceChildren(...present.map((reader) => make("option", { value: reader.id }, reader.name)));
    by("reader").value = String(view.reader ?? state.reader ?? "");
  };

  const say = (what, bad = false) => {
    said = what === null ? null : [what, bad];
    show();
  };

  // --- requests: by POST, so that the browser names this page's origin; never answered to any other

  const ask = async (what, signal) => {
    const body = { language: state.language, ...(state.reader === null ? {} : { reader: state.reader }) };
    return fetch(`/card/${what}`, {
      method: "POST", body: JSON.stringify(body), credentials: "omit", cache: "no-store", redirect: "error", signal,
      headers: { "Content-Type": "application/json", "X-Cpxd": "1", "X-Cpxd-Key": key },
    });
  };

  const answer = async (what) => {
    const response = await ask(what);
    const found = await response.json();
    if (!response.ok) throw found.error;
    return found;
  };

  const failed = (error) => {
    if (error && error.fr && error.code !== "CPX-160") say([error.fr, error.en], true);
    else say("ended", true);
  };

  const act = async (what, done) => {
    if (state.busy) return;
    state.busy = true;
    missed = false;
    say("answer_dialog");
    try {
      const found = await answer(what);
      state.busy = false;
      if (found.card && !missed) state.view = { ...state.view, ...found };
      else await look();
      say(done);
    } catch (error) {
      state.busy = false;
      await look();
      failed(error);
    }
    if (what !== "situations") await examine(null);
  };

  const look = async () => {
    try {
      state.view = await answer("view");
      if (said !== null && said[0] === "loading") said = null;
      show();
    } catch (error) {
      failed(error);
    }
  };

  let examining = 0;
  const examine = async (done) => {
    const mine = ++examining;
    state.doctor = null;
    show();
    try {
      const found = await answer("doctor");
      if (mine !== examining) return;
      state.doctor = found;
      if (done) say(done);
      else show();
    } catch (error) {
      if (mine === examining) failed(error);
    }
  };

  const changed = async (now) => {
    const seen = JSON.stringify(now.readers.map(({ id, insertion: count, state: how }) => [id, count, how]));
    const life = JSON.stringify(now.lives);
    if (seen === insertion && life === lives) return;
    const ended = life !== lives;
    [insertion, lives] = [seen, life];
    if (ended) {
      missed = true;
      if (state.view !== null && state.view.card) { // what the PIN opened is for who typed it, and for that card
        state.view.card.situations = null;
        show();
      }
    }
    if (now.readers.some((reader) => reader.state === "reading")) return;
    if (state.busy) return; // what is being done looks again when it ends
    await look();
    await examine(null);
  };

  const follow = async () => {
    try {
      const response = await ask("changes");
      if (!response.ok) throw null;
      const reading = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reading.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        if (lines.length) changed(JSON.parse(lines.at(-1)));
      }
    } catch { /* said below */ }
    state.view = null; // nothing of the holder stays in a page that nobody tends
    main.replaceChildren();
    by("readers").hidden = true;
    say("ended", true);
  };

  for (const language of ["fr", "en"]) by(language).addEventListener("click", () => { state.language = language; show(); });
  by("reader").addEventListener("change", () => { state.reader = Number(by("reader").value); state.view = null; look(); examine(null); });
  say("loading");
  follow();
})();
