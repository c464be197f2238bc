/*! updates.tabs.js of django-pushserver, BSD-3-Clause
 *
 *     <script src="updates.js"></script>
 *     <script src="updates.streams.js"></script>
 *     <script src="updates.tabs.js"></script>
 *
 * Lets all tabs of a browser use one connection. One tab, the leader, receives the
 * messages and sends them to the others. Only channels with the same `share` are shared;
 * {% push_channels %} sets it to a digest of the user. Where the browser has no Web Locks
 * or no BroadcastChannel, each tab has its own connection.
 *
 * A classic script that also runs as a module, after updates.streams.js.
 */
(function () {
    "use strict";

    /** Milliseconds between two questions of a visible tab whether the leader is alive. */
    const TICK = 2500;
    /** The number of unanswered questions after which a tab takes the leader's place. */
    const MAX_SILENT = 3;
    /** Milliseconds in which a channel is not requested again for a tab that woke up. */
    const JUST_ASKED = 5 * 1000;

    const STREAMS = Symbol.for("updates.streams.js");
    const TOKENS = Symbol.for("updates.tokens.js");
    const PRESENCE = Symbol.for("updates.presence.js");

    /** Statuses that a new token may mend. */
    const REFUSED = new Set([401, 403]);

    const makeId = () => Math.random().toString(36).slice(2);

    /** Return a negative number if an id is before another one, 0 if they are the same. */
    function compare(one, other) {
        const [time, tag] = one.split(":").map(Number);
        const [otherTime, otherTag] = other.split(":").map(Number);
        return time - otherTime || tag - otherTag;
    }

    const newest = (...ids) => ids.sort(compare).at(-1);

    const ID = /^\d{1,11}:\d+$/;
    const isObject = (each) => Object(each) === each;

    /** What the messages between tabs need, by their type. */
    const NEEDED = new Map([
        ["ping", () => true],
        ["pong", () => true],
        ["leave", () => true],
        ["renewed", ({ url }) => typeof url === "string"],
        [
            "join",
            ({ key, options, position }) =>
                typeof key === "string" &&
                typeof options?.url === "string" &&
                ID.test(position),
        ],
        ["joined", ({ state, detail }) => state === null || isObject(detail)],
        ["state", ({ detail }) => isObject(detail)],
        [
            "message",
            ({ id, gap, bytes }) =>
                ID.test(id) && (gap === null || ID.test(gap)) && bytes instanceof Uint8Array,
        ],
    ]);

    /** Return whether a message is no other script's, and of no other version. */
    function isReadable(message) {
        return (
            isObject(message) &&
            (message.isAsked || Number.isFinite(message.term)) &&
            NEEDED.get(message.type)?.(message) === true
        );
    }

    /** Return a URL of the page, null if it is none. */
    function resolveUrl(url) {
        try {
            return new URL(url, globalThis.document?.baseURI ?? "http://localhost/");
        } catch {
            return null;
        }
    }

    const whenAborted = (signal) =>
        new Promise((resolve) => signal.addEventListener("abort", resolve));

    /** Receives the channels of all tabs, in the tab that is the leader. */
    class Leader {
        /**
         * `hub` is an object like `window.updates`, whose names are the channels' keys;
         * `send` sends to all tabs, this one included.
         */
        constructor(tab, hub, send) {
            this.tab = tab;
            this.hub = hub;
            this.send = send;
            this.channels = new Map(); // By key.
            this.pruning = null;
        }

        /** Add a tab's subscription, which has the messages up to a position. */
        join({ member, tab, key, options, position, isAgain }) {
            let channel = this.channels.get(key);
            if (channel === undefined) {
                channel = { key, options, until: null };
                channel.members = new Map(); // The tab and the options, by member.
                channel.refused = new Set(); // The URLs whose tokens are not valid.
                this.channels.set(key, channel);
                this.request(channel, position);
            } else {
                this.choose(channel, options); // Its token is newer.
                this.adapt(channel, position, isAgain && tab !== this.tab);
            }
            channel.members.set(member, { tab, options });
            this.useOtherToken(channel);
            const { state, detail } = channel;
            this.send({ type: "joined", member, state, detail });
        }

        /** Use the options of a tab for the next request of a channel. */
        choose(channel, options) {
            if (!channel.refused.has(options.url)) {
                const { location, tokenUrl } = channel.options;
                channel.options = {
                    ...options,
                    location: options.location ?? location,
                    tokenUrl: options.tokenUrl ?? tokenUrl,
                };
            }
        }

        /** Request a channel that is refused with the token of another tab, if any. */
        useOtherToken(channel) {
            if (channel.state !== "waiting" || channel.detail.status !== 401) {
                return false;
            }
            channel.refused.add(channel.url);
            const all = [...channel.members.values()].map(({ options }) => options);
            const other = all.reverse().find(({ url }) => !channel.refused.has(url));
            if (other === undefined) {
                return false;
            }
            this.choose(channel, other);
            this.request(channel, channel.position);
            return true;
        }

        /** Let a channel go back to the position of a new subscription, if it is older. */
        adapt(channel, position, isAgain) {
            // Requesting the older messages for the new tab only would need another
            // connection, and nothing tells when it has all of them.
            if (position !== channel.position) {
                // Tabs skip what they have, up to the newest position of any.
                const until = channel.until ?? channel.position;
                channel.until = newest(until, channel.position, position);
            }
            const { state, detail } = channel;
            const isRefused =
                state === "waiting" &&
                REFUSED.has(detail.status) &&
                !channel.refused.has(channel.options.url);
            if (compare(position, channel.position) < 0) {
                this.request(channel, position);
            } else if (isRefused) {
                this.request(channel, channel.position); // With the newer token.
            } else if (
                isAgain &&
                channel.detail.status === undefined &&
                Date.now() - channel.askedAt > JUST_ASKED
            ) {
                // A tab woke up, and this one may not have noticed it: it is hidden.
                this.request(channel, channel.position);
            }
        }

        /** Request the messages of a channel after a position. */
        request(channel, position) {
            const { key, options } = channel;
            channel.stop?.();
            // The state before is not that of this request.
            Object.assign(channel, { position, url: options.url, state: null, detail: {} });
            channel.askedAt = Date.now();
            let gap = null;
            const undo = [
                this.hub.onGap(key, (missed) => (gap = missed)),
                this.hub.on(key, ({ id, contentType, event, exclude, bytes }) => {
                    const isRepeated = channel.until !== null;
                    if (isRepeated && compare(id, channel.until) >= 0) {
                        channel.until = null;
                    }
                    channel.position = id;
                    const message = { key, id, contentType, event, exclude, bytes };
                    this.send({ type: "message", ...message, gap, isRepeated });
                    gap = null;
                }),
                this.hub.subscribe({ [key]: { ...options, after: position } }),
            ];
            channel.stop = () => undo.forEach((each) => each());
        }

        /** Tell the tabs the state of a channel. */
        tell(state, key, detail) {
            const channel = this.channels.get(key);
            if (channel !== undefined) {
                Object.assign(channel, { state, detail });
                if (this.useOtherToken(channel)) {
                    return; // The tabs need not know.
                }
                if (state === "gone") {
                    channel.stop();
                    this.channels.delete(key); // Now: it may be subscribed to again.
                }
                this.send({ type: "state", key, state, detail });
            }
        }

        /** Tell the tabs the new URL of a channel, for the time after this leader. */
        renew(key, url) {
            const channel = this.channels.get(key);
            if (channel !== undefined) {
                channel.url = channel.options.url = resolveUrl(url).href;
                for (const member of channel.members.values()) {
                    member.options = { ...member.options, url: channel.url };
                }
                this.send({ type: "renewed", key, url: channel.options.url });
            }
        }

        leave(member) {
            this.remove((each) => each === member);
        }

        leaveTab(tab) {
            this.remove((_, each) => each.tab === tab);
        }

        remove(isRemoved) {
            for (const { members } of this.channels.values()) {
                for (const [member, from] of members) {
                    if (isRemoved(member, from)) {
                        members.delete(member);
                    }
                }
            }
            // Later: subscriptions leave and join again when the network returns.
            this.pruning ??= setTimeout(() => {
                this.pruning = null;
                for (const [key, { members, stop }] of this.channels) {
                    if (members.size === 0) {
                        this.channels.delete(key);
                        stop();
                    }
                }
            });
        }

        close() {
            clearTimeout(this.pruning);
            this.channels.forEach(({ stop }) => stop());
            this.channels.clear();
        }
    }

    /** This tab's subscription to a shared channel. */
    class Member {
        constructor(subscription, isAgain, resolve) {
            const { url, credentials, channel } = subscription;
            const { transport = "stream", location, tokenUrl } = channel;
            const full = resolveUrl(url);
            this.id = makeId();
            this.subscription = subscription;
            this.resolve = resolve;
            this.isAgain = isAgain;
            this.isJoined = false;
            this.options = { url: full.href, credentials, transport, location };
            if (tokenUrl) {
                this.options.tokenUrl = resolveUrl(tokenUrl)?.href;
                this.options.channel = channel.channel;
            }
            full.searchParams.delete("token"); // Tabs have different ones.
            this.key = [full.href, credentials, transport].join(" ");
        }

        /** Return the question with which the subscription joins its channel. */
        describe() {
            const { id: member, key, options, subscription, isAgain } = this;
            const position = subscription.position.text;
            return { type: "join", member, key, options, position, isAgain };
        }

        renew(url) {
            this.options.url = url;
            this.subscription.url = url;
        }

        setState(state, detail) {
            const { subscription } = this;
            const { transport } = detail;
            if (subscription.details.transport !== transport) {
                subscription.details = { transport, shared: true };
                if (subscription.state === "live") {
                    subscription.state = null; // The page is told the transport.
                }
            }
            if (state === "live") {
                subscription.succeed();
            } else if (state === "gone") {
                subscription.tell.gone(); // First: the page may subscribe again at once.
                subscription.setState(state, detail);
            } else if (state === "waiting" || subscription.state !== "live") {
                // The leader may only connect again for another tab.
                subscription.setState(state, detail);
            }
        }

        receive(message, { parseId, readText }) {
            const { id, contentType, event, exclude, bytes, gap, isRepeated } = message;
            const { subscription } = this;
            const before = subscription.position.text;
            if (subscription.seen.has(id) || (isRepeated && compare(id, before) <= 0)) {
                return;
            }
            // What is missing before a repeated message may be what this tab has.
            const isMissing = gap !== null && !(isRepeated && compare(gap, before) <= 0);
            const headers = new Map([
                ["Content-Type", contentType],
                ["Event", event],
                ["Push-Exclude", exclude ?? null],
                ["Push-Gap", isMissing ? gap : null],
            ]);
            subscription.deliver(parseId(id), headers, bytes, readText(bytes, contentType));
        }
    }

    /** This tab among those that have the same `share`. */
    class Group {
        constructor(share, parts, attachParts) {
            this.name = `updates.js ${share}`;
            this.parts = parts;
            this.attachParts = attachParts;
            this.members = new Map(); // Those of this tab, by id.
            this.carried = new WeakSet();
            this.ended = null; // What ends the time in which the tab is in the group.
            this.leader = null;
            this.term = 0; // The time at which the leader began.
            this.isBroken = false;
        }

        /** Return a promise of the delay after which a subscription goes on. */
        carry(subscription, signal) {
            if (!subscription.details.shared) {
                subscription.details = { shared: true };
            }
            // Only a request measures how long it has been held.
            subscription.askedAt = null;
            if (subscription.state !== "live") {
                subscription.setState("connecting");
            }
            if (signal.aborted) {
                return Promise.resolve(0); // The page unsubscribed when it was told.
            }
            return new Promise((resolve) => {
                const isAgain = this.carried.has(subscription);
                const member = new Member(subscription, isAgain, resolve);
                signal.addEventListener("abort", () => this.remove(member));
                this.carried.add(subscription);
                this.members.set(member.id, member);
                this.open();
                this.join(member);
            });
        }

        remove(member) {
            if (this.members.delete(member.id) && this.ended !== null) {
                this.ask({ type: "leave", member: member.id });
                // Later: it may join again at once.
                setTimeout(() => this.members.size === 0 && this.close());
            }
        }

        join(member) {
            if (this.term > 0) {
                this.ask({ ...member.describe(), tab: this.tab });
            }
        }

        // The life of the tab

        open() {
            if (this.ended !== null || this.isBroken) {
                return;
            }
            try {
                this.channel = new BroadcastChannel(this.name);
            } catch {
                this.giveUp();
                return;
            }
            this.channel.onmessage = ({ data }) => this.receive(data);
            this.ended = new AbortController();
            this.tab = makeId();
            this.silent = 0;
            this.hasHeard = true;
            this.ticking = setInterval(() => this.tick(), TICK);
            const { signal } = this.ended;
            // The leader gets this lock when the tab has died.
            this.hold(this.tab, { signal }, () => {
                this.elect(signal);
                return whenAborted(signal);
            }).catch(() => signal.aborted || this.giveUp());
        }

        /** Leave the group, so that the page can be frozen or cached. */
        close() {
            if (this.ended !== null) {
                clearInterval(this.ticking);
                this.ended.abort();
                this.ended = null;
                this.resign();
                this.term = 0;
                this.channel.close();
                this.carried = new WeakSet();
                this.members.forEach((member) => (member.isJoined = false));
            }
        }

        /** Let the tab have its own connection. */
        giveUp() {
            this.isBroken = true;
            this.close();
            this.members.forEach(({ resolve }) => resolve(0));
            this.members.clear();
        }

        hold(suffix, options, whenHeld) {
            const name = `${this.name} ${suffix}`;
            return navigator.locks.request(name, options, whenHeld);
        }

        // Who leads

        async elect(signal) {
            // A tab that is alone leads at once.
            let options = { ifAvailable: true };
            while (!signal.aborted) {
                try {
                    await this.hold("leader", options, (lock) =>
                        lock === null || signal.aborted ? null : this.lead(),
                    );
                } catch (error) {
                    // It was aborted by tick(), or the lock was stolen.
                    if (error.name !== "AbortError" && !signal.aborted) {
                        this.giveUp();
                    }
                }
                if (signal.aborted) {
                    return;
                }
                this.resign();
                if (this.silent > MAX_SILENT) {
                    options = { steal: true };
                    continue;
                }
                this.silent = 0;
                this.greet();
                this.queueing = new AbortController();
                signal.addEventListener("abort", () => this.queueing.abort());
                options = { signal: this.queueing.signal };
            }
        }

        lead() {
            this.silent = 0;
            this.makeHub();
            this.leader = new Leader(this.tab, this.hub, (message) => this.send(message));
            this.leading = new AbortController();
            this.watched = new Set([this.tab]);
            // It is larger than that of the leader before.
            this.term = Math.max(Date.now(), this.term + 1) + Math.random();
            this.send({ type: "pong" });
            this.joinAll();
            return whenAborted(this.leading.signal);
        }

        resign() {
            if (this.leader !== null) {
                this.leader.close();
                this.leader = null;
                this.leading.abort();
            }
        }

        /** Make the object that receives the messages of all tabs. */
        makeHub() {
            if (this.hub !== undefined) {
                return;
            }
            this.hub = this.parts.createUpdates();
            this.attachParts(this.hub, (...args) => this.leader?.renew(...args));
            this.hub.onState((...args) => this.leader?.tell(...args));
            this.hub.onExchange((exchange) => {
                const all = [...this.members.values()];
                const found = all.find(({ key }) => key === exchange.name) ?? all[0];
                if (found !== undefined) {
                    const { name, tell } = found.subscription;
                    tell.exchange({ ...exchange, name });
                }
            });
        }

        joinAll() {
            this.members.forEach((member) => {
                member.isJoined = false;
                this.join(member);
            });
        }

        /** Ask whether there is a leader that answers. */
        greet() {
            if (this.ended !== null && this.leader === null) {
                this.ask({ type: "ping" });
            }
        }

        /** Take the place of a leader that does not answer. */
        tick() {
            // Hidden tabs can wait. Nobody asks a leader that is this tab.
            if (this.leader !== null || globalThis.document?.hidden) {
                this.silent = 0;
                return;
            }
            this.silent += 1;
            if (this.silent <= MAX_SILENT) {
                this.greet();
            } else if (!this.hasHeard) {
                this.giveUp(); // Other tabs lead, but cannot be heard.
            } else {
                this.hasHeard = false;
                this.queueing?.abort();
            }
        }

        // Messages between tabs

        /** Send a message to the leader. */
        ask(message) {
            if (this.leader === null) {
                this.channel.postMessage({ ...message, isAsked: true });
            } else {
                this.answer(message);
            }
        }

        /** Send a message of the leader to all tabs. */
        send(message) {
            const told = { ...message, term: this.term };
            if (this.watched.size > 1 || message.type === "pong") {
                this.channel.postMessage(told);
            }
            this.hear(told);
        }

        receive(message) {
            if (!isReadable(message)) {
                return;
            }
            this.hasHeard = true;
            if (!message.isAsked) {
                this.hear(message);
            } else if (this.leader !== null) {
                this.answer(message);
            }
        }

        /** Do what a tab asks the leader for. */
        answer(message) {
            if (message.type === "join") {
                this.watch(message.tab);
                this.leader.join(message);
            } else if (message.type === "leave") {
                this.leader.leave(message.member);
            } else {
                this.channel.postMessage({ type: "pong", term: this.term });
            }
        }

        /** Notice when a tab dies, which may not have been able to leave. */
        watch(tab) {
            if (!this.watched.has(tab)) {
                const { leader, watched } = this;
                const { signal } = this.leading;
                watched.add(tab);
                this.hold(tab, { signal }, () => {
                    watched.delete(tab);
                    leader.leaveTab(tab);
                }).catch(() => {}); // This tab does not lead any more.
            }
        }

        /** Receive a message of the leader. */
        hear(message) {
            const { type, term } = message;
            if (term < this.term) {
                return; // It was frozen, and does not know that another tab leads.
            }
            this.silent = 0;
            if (term > this.term) {
                this.resign();
                this.term = term;
                this.joinAll();
                return; // The rest is for those who have joined.
            }
            if (type === "joined") {
                const member = this.members.get(message.member);
                if (member !== undefined) {
                    member.isJoined = true;
                    if (message.state !== null) {
                        member.setState(message.state, message.detail);
                    }
                }
                return;
            }
            for (const member of [...this.members.values()]) {
                // A function of the page may have unsubscribed it just now.
                const isHere = member.isJoined && this.members.has(member.id);
                if (isHere && member.key === message.key) {
                    if (type === "message") {
                        member.receive(message, this.parts);
                    } else if (type === "renewed") {
                        member.renew(message.url);
                    } else {
                        member.setState(message.state, message.detail);
                    }
                }
            }
        }
    }

    /** Let the subscriptions of an `updates` use the connection of all tabs. */
    function attach(updates) {
        const attachStreams = updates[STREAMS];
        if (updates[ATTACHED]) {
            return; // The file is on the page twice.
        }
        updates[ATTACHED] = true;
        const groups = new Map(); // By share.
        const attachParts = (hub, heed) => {
            attachStreams(hub);
            updates[TOKENS]?.(hub, heed);
            updates[PRESENCE]?.(hub);
        };
        updates.carryBy((parts, carryAlone) => (subscription, signal) => {
            const { share, tokenUrl } = subscription.channel;
            const canShare =
                share &&
                typeof tokenUrl !== "function" && // It cannot be sent to the leader.
                resolveUrl(subscription.url) !== null &&
                typeof BroadcastChannel === "function" &&
                globalThis.navigator?.locks !== undefined;
            if (canShare && !groups.has(share)) {
                groups.set(share, new Group(share, parts, attachParts));
            }
            const group = canShare ? groups.get(share) : null;
            if (group === null || group.isBroken) {
                if (subscription.details.shared) {
                    subscription.details = {};
                }
                return carryAlone(subscription, signal);
            }
            return group.carry(subscription, signal);
        });
        const leave = () => groups.forEach((group) => group.close());
        if (typeof document !== "undefined") {
            // Tabs in the back-forward cache, and frozen ones, cannot lead.
            addEventListener("pagehide", leave);
            document.addEventListener("freeze", leave);
            document.addEventListener("visibilitychange", () =>
                groups.forEach((group) => group.greet()),
            );
        }
    }

    const ATTACHED = Symbol.for("updates.tabs.js");

    if (typeof globalThis.updates?.[STREAMS] === "function") {
        attach(globalThis.updates);
    } else {
        console.error("updates.tabs.js needs updates.streams.js before it.");
    }

    // For tests.
    if (typeof module === "object" && module.exports) {
        module.exports = { attach };
    }
})();
