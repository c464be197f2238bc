// The pages of the dashboard: they load themselves again while somebody looks, and show
// what goes over the wire. No build step: this is what browsers get.
(() => {
  "use strict";

  const INTERVAL = 2000; // Milliseconds between two looks.
  const MAX_ENTRIES = 300;
  const MAX_SHOWN = 2000; // Characters of a frame.
  const RETRY = 2000;

  const find = (id) => document.getElementById(id);
  const sleep = (ms, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()));
    });

  // ---- The page as it is now ----

  /** Change a node to what a fresh one is, and keep all that is the same. */
  function morph(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes])
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes)
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    morphChildren(old, fresh);
  }

  const keyOf = (node) => (node.dataset ? node.dataset.key : undefined);

  function morphChildren(old, fresh) {
    const keyed = new Map();
    for (const child of old.children)
      if (keyOf(child) !== undefined) keyed.set(keyOf(child), child);
    const had = keyed.size > 0;
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const key = keyOf(child);
      const isLike =
        at && keyOf(at) === undefined && at.nodeName === child.nodeName;
      const match = key === undefined ? (isLike ? at : null) : keyed.get(key);
      if (!match) {
        if (had && key !== undefined) child.classList.add("fresh");
        old.insertBefore(child, at);
        continue;
      }
      if (match === at) at = at.nextSibling;
      else old.insertBefore(match, at);
      morph(match, child);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  // The last counters, to tell how fast they grow.
  let counts = null;

  /** Write how fast the counters grow, from this look and the one before. */
  function showRates() {
    const now = performance.now();
    const elements = [...document.querySelectorAll("[data-count]")];
    const fresh = { at: now, values: elements.map((each) => Number(each.dataset.count)) };
    if (counts && counts.values.length === fresh.values.length) {
      const seconds = (now - counts.at) / 1000;
      elements.forEach((element, index) => {
        const rate = Math.max(fresh.values[index] - counts.values[index], 0) / seconds;
        const digits = rate >= 10 || rate === 0 ? 0 : 1;
        const shown = rate.toLocaleString("en", { maximumFractionDigits: digits });
        element.textContent = `${shown} a second`;
      });
    }
    counts = fresh;
  }

  const state = find("state");
  const pause = find("pause");

  function show(name, text) {
    if (state.dataset.state !== name) {
      state.dataset.state = name;
      state.textContent = text;
    }
  }

  /** Load the page once more, and change what is different. */
  async function look() {
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected)
      throw new Error(answer.redirected ? "Logged out" : `Error ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const focused = document.activeElement;
    for (const element of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(element.id);
      if (other) morphChildren(element, other);
    }
    // What was moved has lost the focus.
    if (focused !== document.activeElement && focused.isConnected) focused.focus();
    showRates();
  }

  let isPaused = false;
  let wake = () => {};

  /** Look again and again, but only while the page is seen. */
  async function follow() {
    showRates();
    for (;;) {
      await sleep(INTERVAL);
      if (isPaused || document.hidden) {
        if (isPaused) show("paused", "Paused");
        counts = null;
        await new Promise((resolve) => (wake = resolve));
      }
      try {
        await look();
        if (!isPaused) show("live", "Live");
      } catch (error) {
        show("away", /^(Logged|Error)/.test(error.message) ? error.message : "No answer");
        counts = null;
      }
    }
  }

  if (state) {
    state.hidden = pause.hidden = false;
    pause.addEventListener("click", () => {
      isPaused = !isPaused;
      pause.setAttribute("aria-pressed", isPaused);
      pause.textContent = isPaused ? "Go on" : "Pause";
      if (isPaused) show("paused", "Paused");
      else wake();
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !isPaused) wake();
    });
    follow();
  }

  // ---- Publishing ----

  const form = find("publish");
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const told = find("published");
    const tell = (text, isBad) => {
      told.textContent = text;
      told.classList.toggle("bad", isBad);
    };
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        headers: { Accept: "application/json" },
        credentials: "same-origin",
      });
      if (!answer.headers.get("Content-Type")?.startsWith("application/json"))
        throw new Error(`The site answered ${answer.status}.`);
      const { error, delivered, info } = await answer.json();
      if (error) throw new Error(error);
      const id = info ? `${info.last_message_id} ` : "";
      tell(`${id}${delivered ? "sent to who listens" : "accepted; nobody listens"}`, false);
    } catch (error) {
      tell(error.message, true);
    }
  });

  // ---- The wire ----

  const panel = find("wire");
  if (!panel) return;
  const log = find("log");
  const clear = find("clear");
  clear.hidden = false;
  clear.addEventListener("click", () => log.replaceChildren());

  const withoutToken = (text) => text.replace(/([?&]token=)[^&\s]+/g, "$1…");
  const cut = (text) =>
    text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}… (${text.length} characters)` : text;

  /** Add an entry to the log: what went out, what came in, a note or a fault. */
  function write(way, name, text) {
    const entry = document.createElement("li");
    const what = document.createElement("p");
    const title = document.createElement("b");
    const transport = document.createElement("span");
    const time = document.createElement("time");
    const shown = document.createElement("pre");
    const now = new Date();
    entry.dataset.way = way;
    what.className = "what";
    title.textContent = { out: "sent", in: "received", note: "note", fault: "fault" }[way];
    transport.textContent = name;
    time.dateTime = now.toISOString();
    time.textContent = now.toISOString().slice(11, 23);
    shown.textContent = cut(withoutToken(text));
    what.append(title, transport, time);
    entry.append(what, shown);
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(entry);
    while (log.children.length > MAX_ENTRIES) log.firstChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }

  const lines = (first, headers) =>
    [first, ...[...headers].map(([name, value]) => `${name}: ${value}`)].join("\n");

  /** Return a URL at which the page may listen, with a fresh token if it needs one. */
  async function askUrl(locationIndex, signal) {
    const query = new URLSearchParams({
      store: panel.dataset.store,
      channel: panel.dataset.channel,
      location: locationIndex,
    });
    const answer = await fetch(`${panel.dataset.url}?${query}`, { signal });
    if (!answer.ok || answer.redirected) throw new Error("The site gives no URL.");
    return new URL((await answer.json()).url, location.href);
  }

  /** Send a GET, write both heads, and return the answer. */
  async function ask(name, url, headers, signal) {
    write("out", name, lines(`GET ${url.pathname}${url.search}`, Object.entries(headers)));
    const answer = await fetch(url, {
      headers,
      signal,
      cache: "no-store",
      credentials: "include",
    });
    return answer;
  }

  const head = (answer) =>
    lines(`${answer.status} ${answer.statusText}`.trim(), answer.headers);

  const isFinal = (status) => status >= 400 && status < 500 && ![408, 429].includes(status);

  /** Return the bytes of an answer as people read them. */
  async function readBody(answer) {
    const bytes = new Uint8Array(await answer.arrayBuffer());
    return showBytes(bytes);
  }

  function showBytes(bytes) {
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      const start = [...bytes.slice(0, 64)].map((each) => each.toString(16).padStart(2, "0"));
      return `${bytes.length} bytes: ${start.join(" ")}${bytes.length > 64 ? " …" : ""}`;
    }
  }

  /** Poll until it is switched off: at once again, or every few seconds. */
  async function poll(name, index, from, signal, pauses) {
    let headers = {};
    for (;;) {
      const url = await askUrl(index, signal);
      if (!headers["If-Modified-Since"]) url.searchParams.set("last_event_id", from);
      const answer = await ask(name, url, headers, signal);
      const body = await readBody(answer);
      write(answer.ok || answer.status === 304 ? "in" : "fault", name,
        body ? `${head(answer)}\n\n${body}` : head(answer));
      if (isFinal(answer.status)) return;
      if (answer.headers.get("Last-Modified"))
        headers = {
          "If-Modified-Since": answer.headers.get("Last-Modified"),
          "If-None-Match": answer.headers.get("Etag") || "0",
        };
      if (pauses || answer.status >= 400) await sleep(RETRY, signal);
      if (signal.aborted) return;
    }
  }

  /** Read a stream of server-sent events, and come back as a browser does. */
  async function stream(name, index, from, signal) {
    const headers = { Accept: "text/event-stream" };
    let retry = RETRY;
    for (;;) {
      const url = await askUrl(index, signal);
      if (!headers["Last-Event-ID"]) url.searchParams.set("last_event_id", from);
      const answer = await ask(name, url, headers, signal);
      const type = answer.headers.get("Content-Type") || "";
      if (!answer.ok || !type.startsWith("text/event-stream")) {
        write("fault", name, `${head(answer)}\n\n${await readBody(answer)}`);
        if (isFinal(answer.status) || answer.ok) return;
      } else {
        write("in", name, head(answer));
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
          const { value, done } = await reader.read();
          if (done) break;
          const blocks = (rest + value).split("\n\n");
          rest = blocks.pop();
          for (const block of blocks) {
            write("in", name, block);
            const id = /^id: ?(.*)$/m.exec(block);
            if (id) headers["Last-Event-ID"] = id[1];
            const told = /^retry: ?(\d+)$/m.exec(block);
            if (told) retry = Number(told[1]);
          }
        }
        write("note", name, "The stream has ended.");
      }
      await sleep(retry, signal);
      if (signal.aborted) return;
    }
  }

  /** Open a socket, and again when it was closed for a while. */
  async function socket(name, index, from, signal) {
    let last = from;
    for (;;) {
      const url = await askUrl(index, signal);
      url.protocol = url.protocol.replace("http", "ws");
      url.searchParams.set("last_event_id", last);
      const protocol = "ws+meta.pushserver";
      write("out", name, lines(`GET ${url.pathname}${url.search}`, [
        ["Upgrade", "websocket"],
        ["Sec-WebSocket-Protocol", protocol],
      ]));
      const code = await new Promise((resolve) => {
        const open = new WebSocket(url, protocol);
        const stop = () => open.close();
        signal.addEventListener("abort", stop);
        open.binaryType = "arraybuffer";
        open.onopen = () =>
          write("in", name, lines("101 Switching Protocols",
            [["Sec-WebSocket-Protocol", open.protocol]]));
        open.onmessage = ({ data }) => {
          const text = typeof data === "string" ? data : showBytes(new Uint8Array(data));
          write("in", name, text);
          const id = /^id: (\S+)$/m.exec(text.split("\n\n")[0]);
          if (id) last = id[1];
        };
        open.onclose = (event) => {
          signal.removeEventListener("abort", stop);
          write("note", name, `Closed: ${event.code} ${event.reason}`.trim());
          resolve(event.code);
        };
      });
      const comesBack = code < 4400 || [4408, 4429, 4503].includes(code);
      if (!comesBack) return;
      await sleep(RETRY, signal);
      if (signal.aborted) return;
    }
  }

  const TRANSPORTS = {
    poll: (...rest) => poll(...rest, false),
    interval: (...rest) => poll(...rest, true),
    eventsource: stream,
    websocket: socket,
  };

  /** Listen until the button is pressed once more. */
  async function toggle(button) {
    if (button.running) {
      button.running.abort();
      return;
    }
    const running = (button.running = new AbortController());
    const name = button.querySelector("b").textContent;
    button.setAttribute("aria-pressed", "true");
    try {
      const listen = TRANSPORTS[button.dataset.kind];
      await listen(name, button.dataset.location, find("from").value, running.signal);
      write("note", name, "Switched off.");
    } catch (error) {
      if (running.signal.aborted) write("note", name, "Switched off.");
      else write("fault", name, `${error.message}: the browser's console may say why.`);
    }
    button.running = null;
    button.setAttribute("aria-pressed", "false");
  }

  for (const button of find("transports").querySelectorAll("button"))
    button.addEventListener("click", () => toggle(button));
})();
