/*! updates.tokens.js of django-pushserver, BSD-3-Clause
 *
 *     updates.subscribe({room: {url: "/updates/7?token=…", tokenUrl: "/push/tokens"}});
 *
 * Renews signed URLs: requests new ones for all channels of the page at once, before their
 * tokens expire and when the server refuses them. {% push_channels %} sets `tokenUrl`.
 *
 * A classic script that also runs as a module, after updates.js and updates.streams.js.
 */
(function () {
    "use strict";

    /** The part of its life after which a token is renewed. */
    const PART = 0.8;
    /** Milliseconds in which a token whose life is not known should not be refused. */
    const USUAL_LIFE = 30 * 1000;
    /** The least milliseconds between two requests for tokens. */
    const MIN_INTERVAL = 1000;
    /** Milliseconds in which the token URL has to answer. */
    const TIMEOUT = 30 * 1000;
    const NO_ANSWER = "There was no answer in time.";
    /** The most milliseconds of a timer; browsers cannot wait for a month. */
    const MAX_TIMER = 24 * 60 * 60 * 1000;
    /** The most characters of a URL, and the most channels in it. */
    const MAX_URL = 4096;
    const MAX_CHANNELS = 255;

    /** Statuses that a new token may mend. */
    const REFUSED = new Set([401, 403]);

    const resolveUrl = (url) =>
        new URL(url, globalThis.document?.baseURI ?? "http://localhost/");

    /**
     * Return what the token of a URL says of itself, null if it cannot be read.
     *
     * It is JSON in base64 before a colon: the channels, and the Unix times of its issue
     * and end. Of tokens with another form only the server knows when they expire.
     */
    function readToken(url) {
        try {
            const [text] = resolveUrl(url).searchParams.get("token").split(":");
            const json = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
            const { c: channels, i: issuedAt, e: end } = JSON.parse(json);
            const life = (end - issuedAt) * 1000;
            return life > 0 ? { channels, issuedAt: issuedAt * 1000, life } : null;
        } catch {
            return null;
        }
    }

    /** Return the id of a subscription's channel. */
    function findId({ url, channel: options }) {
        const { channels } = readToken(url) ?? {};
        if (options.channel) {
            return String(options.channel);
        }
        if (Array.isArray(channels) && channels.length === 1) {
            return channels[0];
        }
        const part = resolveUrl(url).pathname.split("/").filter(Boolean).at(-1) ?? "";
        try {
            return decodeURIComponent(part);
        } catch {
            return part;
        }
    }

    /** Why there are no new URLs; `detail` is that of a state. */
    class Failure extends Error {
        constructor(detail, retryAfter = null) {
            super(detail.reason);
            this.detail = detail;
            this.retryAfter = retryAfter;
        }
    }

    /** A subscription, and what is known of its token. */
    class Holder {
        constructor(subscription) {
            this.subscription = subscription;
            this.id = findId(subscription);
            this.refusal = null; // The detail of the state, while its token is refused.
            this.asking = null; // The signal of its request or stream.
            this.isRenewed = false;
            this.take(subscription.url);
            this.intercept();
        }

        /** Know a new token, which was used before only if the page had it. */
        take(url, isRenewed = false) {
            const now = Date.now();
            const token = readToken(url);
            // The clock of the browser may be wrong: a token of the page is no older
            // than the page, and one that was requested is new.
            const age = Math.min(Math.max(now - token?.issuedAt, 0), performance.now());
            const takenAt = isRenewed ? now : now - age;
            this.url = url;
            this.takenAt = now;
            this.life = token?.life ?? USUAL_LIFE;
            this.dueAt = token ? takenAt + token.life * PART : Infinity;
            this.expiresAt = token ? takenAt + token.life : Infinity;
            this.isRenewed = isRenewed;
        }

        /** Let refusals be mended, before the page is told of them. */
        intercept() {
            const { subscription } = this;
            const { wait, warn } = subscription;
            subscription.warn = (detail) => {
                if (!REFUSED.has(detail.status)) {
                    warn.call(subscription, detail);
                }
            };
            subscription.wait = (delay, detail) => {
                if (!REFUSED.has(detail.status)) {
                    return wait.call(subscription, delay, detail);
                }
                this.refusal = detail;
                // Others on its connection are told the same.
                subscription.detail = { ...subscription.details, ...detail };
                return delay;
            };
            this.wait = (delay, detail) => wait.call(subscription, delay, detail);
        }

        needsToken() {
            return this.refusal !== null || Date.now() >= this.expiresAt;
        }

        /** Return whether a token is refused that should be valid. */
        isEarly() {
            return this.isRenewed && Date.now() - this.takenAt < this.life * 0.9;
        }

        /** Use a new URL, at once if there is a request with the old one. */
        renew(url) {
            const { subscription } = this;
            this.take(url, true);
            this.refusal = null;
            subscription.url = url;
            if (this.asking !== null) {
                // It begins after the last message, so none is lost or comes again.
                subscription.turn.abort();
            }
        }

        end(reason) {
            const { subscription } = this;
            this.refusal = null;
            subscription.tell.gone(); // First: the page may subscribe again at once.
            subscription.setState("gone", { status: 403, reason });
        }
    }

    /** The subscriptions whose tokens come from one URL, or one function of the page. */
    class Source {
        constructor(tokenUrl, { fullJitter, readRetryAfter }, heed) {
            this.tokenUrl = tokenUrl;
            this.fullJitter = fullJitter;
            this.readRetryAfter = readRetryAfter;
            this.heed = heed;
            this.holders = new Set();
            this.failures = 0;
            this.early = 0; // How often in a row new tokens were refused.
            this.nextAt = 0; // The time before which there is no request.
            this.isBound = false; // Whether the server has named that time.
            this.renewing = null;
            this.timer = null;
            this.warning = null;
        }

        add(holder) {
            this.holders.add(holder);
            this.schedule();
        }

        /** Return the holders that have not been unsubscribed. */
        list() {
            for (const holder of this.holders) {
                if (!holder.subscription.wanted) {
                    this.holders.delete(holder);
                }
            }
            return [...this.holders];
        }

        schedule() {
            clearTimeout(this.timer);
            const dueAt = Math.min(...this.list().map((holder) => holder.dueAt));
            if (this.renewing === null && dueAt < Infinity) {
                const delay = Math.min(Math.max(dueAt - Date.now(), 0), MAX_TIMER);
                this.timer = setTimeout(() => this.look(), delay);
            }
        }

        /** Renew the tokens if it is time, also after the computer was asleep. */
        look() {
            if (this.list().some((holder) => holder.dueAt <= Date.now())) {
                this.early = 0;
                this.renew();
            } else {
                this.schedule();
            }
        }

        /** Renew the tokens because the server refuses one. */
        refuse(holder) {
            const { refusal } = holder;
            if (this.renewing === null) {
                if (refusal !== null && holder.isEarly()) {
                    const delay = this.fullJitter(this.early++);
                    this.nextAt = Math.max(this.nextAt, Date.now() + delay);
                    const { status, reason } = refusal;
                    this.warn(`its new tokens are refused: ${status} ${reason}`);
                } else {
                    this.early = 0;
                }
            }
            if (refusal !== null && this.early > 0) {
                holder.wait(Math.max(this.nextAt - Date.now(), 0), refusal);
            }
            return this.renew();
        }

        /** Renew the tokens of all channels; return a promise that it is done. */
        renew() {
            if (this.renewing === null) {
                clearTimeout(this.timer);
                this.renewing = this.run().finally(() => {
                    this.renewing = null;
                    this.schedule();
                });
            }
            return this.renewing;
        }

        /** Send a request that waits after a failure: the page may be online again. */
        hurry() {
            if (!this.isBound) {
                this.awake?.();
            }
        }

        async run() {
            for (;;) {
                await this.pause(this.nextAt - Date.now());
                const ids = new Set(this.list().map(({ id }) => id));
                if (ids.size === 0) {
                    return;
                }
                this.nextAt = Date.now() + MIN_INTERVAL;
                this.isBound = false;
                try {
                    const urls = await this.ask([...ids]);
                    this.failures = 0;
                    this.apply(urls, ids);
                    return;
                } catch (error) {
                    this.fail(error);
                }
            }
        }

        /** Wait; other subscriptions of the page may be about to begin. */
        async pause(delay) {
            let timer;
            await new Promise((resolve) => {
                this.awake = delay > 0 ? resolve : null;
                timer = setTimeout(resolve, Math.max(delay, 0));
            });
            clearTimeout(timer);
            this.awake = null;
        }

        /** Plan the next request; tell those that cannot go on without a token. */
        fail({ message, detail = { reason: message }, retryAfter = null }) {
            this.isBound = retryAfter !== null;
            const jitter = this.fullJitter(this.isBound ? 0 : this.failures++);
            const delay = Math.max((retryAfter ?? 0) + jitter, MIN_INTERVAL);
            this.nextAt = Date.now() + delay;
            this.warn(`there are no new tokens: ${detail.status ?? ""} ${detail.reason}`);
            for (const holder of this.list()) {
                if (holder.needsToken() && holder.asking === null) {
                    holder.wait(delay, detail);
                }
            }
        }

        apply(urls, ids) {
            const asked = this.list().filter(({ id }) => ids.has(id));
            // All at once, so that channels on one stream stay together.
            for (const holder of asked.filter(({ id }) => urls.get(id))) {
                const url = String(urls.get(holder.id));
                holder.renew(url);
                this.heed(holder.subscription.name, url);
            }
            for (const holder of asked.filter(({ id }) => !urls.get(id))) {
                this.holders.delete(holder);
                holder.end("The channel may not be read any more.");
            }
        }

        /** Return the new URLs, by channel; those that are denied are left out. */
        async ask(ids) {
            if (typeof this.tokenUrl === "function") {
                return this.read(await this.call(ids));
            }
            const answers = await Promise.all(this.split(ids).map((url) => this.request(url)));
            return new Map(answers.flatMap((answer) => [...answer]));
        }

        /** Call the function of the page, which may never answer. */
        async call(ids) {
            let timer;
            const late = new Promise((_, reject) => {
                const failure = new Failure({ reason: NO_ANSWER });
                timer = setTimeout(() => reject(failure), TIMEOUT);
            });
            try {
                return await Promise.race([this.tokenUrl(ids), late]);
            } finally {
                clearTimeout(timer);
            }
        }

        /** Return the URLs of the requests for channels. */
        split(ids) {
            const urls = [];
            let count = 0;
            let url = null;
            for (const id of ids) {
                const longer = new URL(url ?? resolveUrl(this.tokenUrl));
                longer.searchParams.append("channel", id);
                if (url !== null && (count === MAX_CHANNELS || longer.href.length > MAX_URL)) {
                    urls.push(url);
                    url = resolveUrl(this.tokenUrl);
                    url.searchParams.append("channel", id);
                    count = 1;
                } else {
                    url = longer;
                    count += 1;
                }
            }
            return [...urls, url];
        }

        async request(url) {
            const controller = new AbortController();
            const { signal } = controller;
            const timer = setTimeout(() => controller.abort(), TIMEOUT);
            const options = {
                headers: { Accept: "application/json" },
                credentials: "same-origin",
                cache: "no-store",
                signal,
            };
            try {
                const first = await fetch(url.href, { ...options, redirect: "manual" });
                if (first.type !== "opaqueredirect") {
                    return await this.receive(first);
                }
                try {
                    return await this.receive(await fetch(url.href, options));
                } catch (error) {
                    const status = error.detail?.status ?? 0;
                    if (signal.aborted || status >= 500 || status === 429) {
                        throw error;
                    }
                    return new Map(); // It leads to a login page, perhaps elsewhere.
                }
            } catch (error) {
                throw signal.aborted ? new Failure({ reason: NO_ANSWER }) : error;
            } finally {
                clearTimeout(timer);
            }
        }

        async receive(response) {
            const { status, headers } = response;
            if (REFUSED.has(status)) {
                return new Map(); // The user has logged out.
            }
            if (!response.ok) {
                const asked = this.readRetryAfter(headers.get("Retry-After"), Date.now());
                throw new Failure({ status, reason: "The token URL has failed." }, asked);
            }
            let answer = null;
            try {
                answer = JSON.parse(await response.text());
            } catch (error) {
                if (!(error instanceof SyntaxError)) {
                    throw error;
                }
            }
            return this.read(answer, status);
        }

        read(answer, status) {
            if (answer === null || typeof answer !== "object" || Array.isArray(answer)) {
                throw new Failure({ status, reason: "The new URLs are no object." });
            }
            return new Map(Object.entries(answer));
        }

        /** Write into the console, once. No URL of a channel: it has a token. */
        warn(text) {
            const { tokenUrl } = this;
            const name = typeof tokenUrl === "function" ? "tokenUrl()" : tokenUrl;
            if (text !== this.warning) {
                this.warning = text;
                console.warn(`updates: ${name}: ${text}`);
            }
        }
    }

    /**
     * Let an `updates` renew its tokens.
     *
     * `heed` is called with the name and the new URL of each subscription.
     */
    function attach(updates, heed = () => {}) {
        if (updates[ATTACHED]) {
            return; // The file is on the page twice.
        }
        const sources = new Map(); // By URL or function.
        const holders = new WeakMap(); // By subscription.
        updates[ATTACHED] = attach; // For updates.tabs.js.

        function findHolder(subscription) {
            if (!holders.has(subscription)) {
                holders.set(subscription, new Holder(subscription));
            }
            const holder = holders.get(subscription);
            if (holder.url !== subscription.url) {
                holder.take(subscription.url); // Another tab has renewed it.
            }
            return holder;
        }

        function findSource(tokenUrl, parts) {
            const key = typeof tokenUrl === "function" ? tokenUrl : resolveUrl(tokenUrl).href;
            if (!sources.has(key)) {
                sources.set(key, new Source(key, parts, heed));
            }
            return sources.get(key);
        }

        async function carry(holder, source, signal, request) {
            const { subscription } = holder;
            if (holder.needsToken()) {
                if (subscription.state !== "live") {
                    subscription.setState("connecting");
                }
                source.add(holder);
                if (source.renewing !== null) {
                    source.hurry();
                }
                await source.refuse(holder);
                return 0;
            }
            const asking = request();
            if (subscription.details.shared) {
                source.holders.delete(holder); // The leader of the tabs renews it.
                return asking;
            }
            holder.asking = signal;
            source.add(holder);
            const delay = await asking;
            if (holder.asking !== signal) {
                return delay; // It was aborted, and there is another request.
            }
            holder.asking = null;
            if (holder.refusal === null || signal.aborted) {
                return delay;
            }
            await source.refuse(holder);
            return 0;
        }

        updates.carryBy((parts, before) => (subscription, signal) => {
            const { tokenUrl } = subscription.channel;
            let holder;
            let source;
            try {
                holder = tokenUrl ? findHolder(subscription) : null;
                source = tokenUrl ? findSource(tokenUrl, parts) : null;
            } catch {
                holder = null; // It is no URL, as the request will say.
            }
            if (holder === null) {
                return before(subscription, signal);
            }
            const request = () => before(subscription, signal) ?? subscription.ask(signal);
            return carry(holder, source, signal, request);
        });
    }

    const ATTACHED = Symbol.for("updates.tokens.js");

    if (typeof globalThis.updates?.carryBy === "function") {
        attach(globalThis.updates);
    } else {
        console.error("updates.tokens.js needs updates.js before it.");
    }

    // For tests.
    if (typeof module === "object" && module.exports) {
        module.exports = { attach, readToken };
    }
})();
