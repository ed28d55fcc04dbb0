// Times in the reader's zone, ids that copy with a click, and parts that stay up to
// date. Without it every page works all the same.
"use strict";

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const precise = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", hour: "numeric", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });

function localize(root) {
  for (const time of root.querySelectorAll("time:not(.ago)")) {
    if (!time.dateTime) { // a line of a log: it says no more than its time, as lines are many
      time.dateTime = time.textContent;
      time.title = time.textContent.replace("T", " ").replace("Z", " UTC");
    }
    const at = new Date(time.dateTime);
    if (!isNaN(at)) time.textContent = (time.closest(".log") ? precise : local).format(at);
  }
  for (const option of root.querySelectorAll("option[data-at]")) {
    const at = new Date(option.dataset.at);
    if (!isNaN(at)) option.textContent = option.value.slice(0, 8) + " of " + local.format(at);
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button || !navigator.clipboard) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1200);
});

document.addEventListener("keydown", (event) => {
  const search = document.querySelector("[data-search]");
  if (event.key !== "/" || !search || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  event.preventDefault();
  search.focus();
});

// What a button or finger is down on. Its click comes with the release, and only if what
// was pressed is still there then.
let pressed = null;
const release = () => setTimeout(() => { pressed = null; });

document.addEventListener("pointerdown", (event) => { pressed = event.target; }, true);
for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, release, true);
addEventListener("blur", release);

// A part with data-live is fetched anew so many milliseconds after it came, until the
// page that comes has it without. One that somebody has opened something in, is in, or
// is about to click in stays as it is.
function busy(part) {
  return part.contains(pressed) || part.querySelector("details[open]") || part.contains(document.activeElement) || part.contains(getSelection().isCollapsed ? null : getSelection().anchorNode);
}

// A part with data-told is also fetched when the server says, as events from there, that what
// the page shows has changed. While it says so, the page asks seldom by itself: for what nobody
// says, such as a core that was not heard of for long. A page that nobody sees is not told:
// browsers have few connections for all pages of a server.
const seldom = 15000;
let events = null, stale = false, resume = () => {};

function wake() {
  stale = true;
  resume();
}

function follow(from) {
  if (events && (!from || document.hidden || events.readyState === EventSource.CLOSED)) {
    events.close();
    events = null;
  }
  if (events || !from || document.hidden) return;
  events = new EventSource(from);
  events.addEventListener("changed", wake);
  events.addEventListener("ended", () => { events.close(); wake(); });
  let open = false;
  events.addEventListener("open", () => { open = true; });
  events.addEventListener("error", () => {
    if (open) wake();
    open = false;
  });
}

document.addEventListener("visibilitychange", wake);

async function refresh() {
  const parts = [...document.querySelectorAll("[data-live]")];
  follow(parts.find((part) => part.dataset.told)?.dataset.told);
  if (parts.length === 0) return;
  const pause = Math.min(...parts.map((part) => Number(part.dataset.live)));
  if (!stale) {
    await new Promise((done) => {
      resume = done;
      setTimeout(done, events?.readyState === EventSource.OPEN ? Math.max(pause, seldom) : pause);
    });
  }
  stale = false;
  if (!document.hidden) {
    let answered = false;
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(10000) });
      if (response.redirected && new URL(response.url).pathname.endsWith("/sign-in")) {
        location.assign(response.url);
        return;
      }
      answered = response.ok;
      if (answered) {
        const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
        localize(fresh);
        for (const part of parts) {
          const next = fresh.getElementById(part.id);
          if (next && next.outerHTML !== part.outerHTML && !busy(part)) part.replaceWith(document.adoptNode(next));
        }
      }
    } catch {
      answered = false;
    }
    document.getElementById("silent").hidden = answered;
  }
  refresh();
}

localize(document);
refresh();

// What a form with data-send answers is shown at its place, and the page stays.
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-send]");
  if (!form) return;
  event.preventDefault();
  const place = document.querySelector(form.dataset.send);
  try {
    const response = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "text/html" } });
    const answer = new DOMParser().parseFromString(await response.text(), "text/html").querySelector(form.dataset.send + ", main .note.bad[role=alert]");
    if (answer) localize(answer);
    if (response.redirected || !answer) location.reload();
    else place.replaceChildren(...(answer.id === place.id ? answer.childNodes : [answer]));
  } catch {
    document.getElementById("silent").hidden = false;
  }
});

// A form with data-stream subscribes: what comes is listed, the newest first, and no
// more of it is kept than a page can bear.
const keepMessages = 200;

function subscribing(form) {
  const state = document.getElementById("stream-state"), list = document.getElementById("messages");
  const stop = form.querySelector("[data-stop]"), clear = form.querySelector("[data-clear]");
  let source = null, count = 0, skipped = 0;
  const say = (text) => { state.textContent = text; };
  const end = (text) => {
    source?.close();
    source = null;
    stop.hidden = true;
    say(text);
  };
  const counted = () => count + (count === 1 ? " message" : " messages") + (skipped ? ", and " + skipped + " that came too fast to be shown" : "");
  const add = (m) => {
    count++;
    skipped += m.skipped ?? 0;
    const item = document.createElement("li"), head = document.createElement("div"), topic = document.createElement("bdi"), about = document.createElement("span"), payload = document.createElement("pre");
    topic.textContent = m.topic;
    about.className = "quiet";
    about.textContent = " " + local.format(new Date(m.at)) + ", " + m.bytes + " bytes" + (m.hex ? ", not text" : "") + (m.retained ? ", retained" : "");
    payload.textContent = m.text;
    head.append(topic, about);
    item.append(head, payload);
    list.prepend(item);
    while (list.children.length > keepMessages) list.lastChild.remove();
    clear.hidden = false;
    say("Subscribed to " + form.elements.filter.value + ": " + counted() + ".");
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    source?.close();
    count = skipped = 0;
    list.replaceChildren();
    say("Subscribing…");
    stop.hidden = false;
    source = new EventSource(form.dataset.stream + "?" + new URLSearchParams({ filter: form.elements.filter.value }));
    source.addEventListener("subscribed", (e) => say("Subscribed to " + JSON.parse(e.data) + ". Nothing has come yet."));
    source.addEventListener("message", (e) => add(JSON.parse(e.data)));
    source.addEventListener("ended", (e) => end("The subscription has ended: " + JSON.parse(e.data)));
    source.addEventListener("error", () => { if (source) end("The connection was lost after " + counted() + ". Subscribe again."); });
  });
  stop.addEventListener("click", () => end("Stopped after " + counted() + "."));
  clear.addEventListener("click", () => { list.replaceChildren(); clear.hidden = true; });
}

for (const form of document.querySelectorAll("[data-stream]")) subscribing(form);
