// The page: posts, visitors, the connection, and the last HTTP exchange.

(function () {
    "use strict";

    const MAX_POSTS = 50;

    /** The headers of the protocol, which the page highlights. */
    const OURS = ["If-Modified-Since", "If-None-Match", "Last-Modified", "Etag", "Push-Gap"];

    /** What an answer means. */
    const ANSWERS = {
        200: "The server answers: this one, and its id.",
        304: "The server answers: nothing yet.",
        408: "The server answers: nothing yet.",
        410: "The server answers: the channel was deleted.",
    };

    const byId = (id) => document.getElementById(id);

    /** Return a new element; a string in it becomes text, never HTML. */
    function make(tag, className, ...children) {
        const element = document.createElement(tag);
        element.className = className;
        element.append(...children);
        return element;
    }

    function makeAvatar(name) {
        const [color, animal] = name.split(" ");
        const avatar = make("span", "avatar", color[0] + (animal ?? "")[0]);
        avatar.dataset.color = color;
        avatar.ariaHidden = "true";
        return avatar;
    }

    // Posts

    function makePost({ id, name, text, at }) {
        const time = make(
            "time",
            "",
            new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }),
        );
        time.dateTime = at;
        const head = make("p", "head", make("b", "", name), " ", time);
        const post = make("li", "post", makeAvatar(name), head, make("p", "text", text));
        post.dataset.id = id;
        return post;
    }

    function addPost(data) {
        const posts = byId("posts");
        if ([...posts.children].some((post) => post.dataset.id === data.id)) {
            return; // The page has shown it since it was loaded.
        }
        posts.prepend(makePost(data));
        while (posts.children.length > MAX_POSTS) {
            posts.lastElementChild.remove();
        }
        byId("nothing").hidden = true;
    }

    async function post(event) {
        event.preventDefault();
        const form = event.target;
        const refusal = byId("refusal");
        let reason = null;
        try {
            const body = new FormData(form);
            const response = await fetch(form.action, { method: "POST", body });
            reason = response.ok ? null : `The site answered ${response.status}.`;
        } catch {
            reason = "The site does not answer.";
        }
        refusal.hidden = reason === null;
        refusal.textContent = reason === null ? "" : `This was not posted. ${reason}`;
        if (reason === null) {
            form.reset();
        }
        byId("text").focus();
    }

    // Visitors

    const here = new Set(); // Their names.
    const visitors = {
        onSync({ members }) {
            here.clear();
            members.forEach((_, name) => here.add(name));
            showHere();
        },
        onJoin(name) {
            here.add(name);
            showHere();
        },
        onLeave(name) {
            here.delete(name);
            showHere();
        },
        onCount: (count) => (byId("count").textContent = count),
    };

    function showHere() {
        byId("here").replaceChildren(
            ...[...here].sort().map((name) => {
                const visitor = make("li", "", makeAvatar(name));
                visitor.title = name;
                visitor.append(make("span", "unseen", name));
                return visitor;
            }),
        );
    }

    // The connection

    const STATES = {
        connecting: "Connecting",
        live: "Live",
        waiting: "No connection, trying again",
        gone: "The channel was deleted",
    };

    function showState(state, name, { status }) {
        if (name !== "board") {
            return; // It is that of the visitors.
        }
        const connection = byId("connection");
        connection.dataset.state = state;
        connection.textContent = STATES[state];
        if (state === "waiting" && status !== undefined) {
            connection.textContent = `The server answers ${status}, trying again`;
        }
        if (state === "waiting" || state === "gone") {
            heldSince = null;
            showHeld();
        }
    }

    // The last exchange

    let heldSince = null;

    function showExchange({ name, url, request, status, statusText, response, text }) {
        if (name !== "board") {
            return;
        }
        if (status === undefined) {
            heldSince = Date.now();
            showHeld();
            return;
        }
        byId("exchange").hidden = false;
        byId("request-line").textContent = `GET ${new URL(url, location).pathname}`;
        showHeaders(byId("request-headers"), request);
        byId("answer-title").textContent = ANSWERS[status] ?? "The server answers.";
        byId("status-line").textContent = `${status} ${statusText}`;
        byId("status-line").dataset.status = status;
        showHeaders(byId("response-headers"), response);
        byId("body").textContent = text;
        byId("body").hidden = text === "";
        heldSince = null;
        showHeld();
    }

    function showHeaders(list, headers) {
        const entries = Object.entries(headers).map(([name, value]) => [
            // The browser gives their names in lower case.
            name.replace(/\b[a-z]/g, (letter) => letter.toUpperCase()),
            value,
        ]);
        const rank = ([name]) => OURS.indexOf(name) + 1 || OURS.length + 1;
        entries.sort((one, other) => rank(one) - rank(other));
        list.replaceChildren(
            ...entries.map(([name, value]) =>
                make(
                    "div",
                    OURS.includes(name) ? "ours" : "",
                    make("dt", "", `${name}:`),
                    " ",
                    make("dd", "", value),
                ),
            ),
        );
    }

    function showHeld() {
        const seconds = Math.floor((Date.now() - heldSince) / 1000);
        byId("held").hidden = heldSince === null;
        byId("held").textContent =
            "Now the page asks for what comes after, and the server holds the request" +
            ` until there is something: ${seconds}\u00a0s so far.`;
    }

    // The page

    function showBoard({ posts }) {
        byId("posts").replaceChildren();
        byId("nothing").hidden = false;
        posts.forEach(addPost);
    }

    /** Load the state from the site, because messages were missed. */
    async function reload() {
        await null; // The message with the gap is delivered first.
        let state, before;
        do {
            before = given;
            const response = await fetch(document.body.dataset.stateUrl);
            state = await response.json();
        } while (given !== before); // Otherwise messages that arrived meanwhile would be lost.
        showBoard(state);
    }

    let given = 0;

    const state = JSON.parse(byId("board-state").textContent);
    showBoard(state);
    byId("form").addEventListener("submit", post);
    setInterval(showHeld, 1000);

    updates.onState(showState);
    updates.onExchange(showExchange);
    updates.on("board", () => (given += 1));
    updates.onGap("board", () => reload().catch(console.warn));
    updates.registerProcessor("board", "post", addPost);
    updates.presence("board", visitors);
    const url = document.body.dataset.channelUrl;
    updates.subscribe({ board: { url, after: state.after } });
})();
