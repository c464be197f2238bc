// Pages that are told who is on a channel, and what they do when they are hidden.

import client from "../../pushserver/static/pushserver/updates.js";
import presence from "../../pushserver/static/pushserver/updates.presence.js";
import streams from "../../pushserver/static/pushserver/updates.streams.js";
import { useClock, useServer } from "./stage.mjs";
import { event, head, LOCATION, stream } from "./streams_stage.mjs";

const REAL = new Map();

function replace(t, name, value) {
    REAL.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => {
        delete globalThis[name];
        if (REAL.get(name) !== undefined) {
            Object.defineProperty(globalThis, name, REAL.get(name));
        }
    });
}

/** Replace the document by one that tests hide and show; note the beacons. */
export function usePage(t, { hidden = false } = {}) {
    const document = new EventTarget();
    Object.assign(document, {
        ...{ hidden, readyState: "complete", baseURI: "http://localhost/" },
        querySelectorAll: () => [],
    });
    const beacons = [];
    replace(t, "document", document);
    replace(t, "addEventListener", () => {});
    const navigator = { sendBeacon: (url) => beacons.push(url) > 0 };
    replace(t, "navigator", navigator);
    return {
        beacons,
        navigator,
        setHidden(hidden) {
            document.hidden = hidden;
            document.dispatchEvent(new Event("visibilitychange"));
        },
    };
}

/** Replace fetch by a server that has these answers for each path, and holds the rest. */
export function usePolls(t, answers) {
    const server = useServer(t);
    const hold = globalThis.fetch;
    globalThis.fetch = (url, options) => {
        const { pathname } = new URL(url, "http://localhost");
        const [answer] = (answers[decodeURIComponent(pathname)] ?? []).splice(0, 1);
        return answer === undefined ? hold(url, options) : Promise.resolve(answer);
    };
    return Object.assign(server, { give: answers });
}

/** Return an `updates` with presence, on streams or on polls. */
export function makeUpdates(t, { withStreams = true } = {}) {
    const updates = client.createUpdates();
    if (withStreams) {
        streams.attach(updates);
    }
    presence.attach(updates);
    t.after(() => updates.close());
    return updates;
}

/** Return functions that note their calls, and the calls. */
export function makeFunctions() {
    const calls = [];
    const note = (event) => (...args) => calls.push([event, ...args]);
    return {
        calls,
        /** Return the calls since the last time. */
        take: () => calls.splice(0).map(([event, first, ...rest]) =>
            event === "sync"
                ? ["sync", Object.fromEntries(first.members), first.others, first.count]
                : [event, first, ...rest],
        ),
        functions: {
            onSync: note("sync"),
            onJoin: note("join"),
            onLeave: note("leave"),
            onCount: note("count"),
        },
    };
}

/** Set the stage: a page with a stream of the channel "room" and of who is there. */
export async function watch(t, options = {}) {
    const clock = useClock(t);
    const open = stream();
    const server = useServer(t, open.response);
    const updates = makeUpdates(t);
    const noted = makeFunctions();
    const undo = updates.presence("main", noted.functions);
    const url = "/updates/room";
    updates.subscribe({ main: { url, location: LOCATION, ...options } });
    await clock.pass(1);
    await clock.pass(1);
    open.send(head("0:0,0:0"));
    let tag = 0;
    /** Send what the channel of presence tells. */
    async function tell(data) {
        tag += 1;
        open.send(event(`0:0,[1795350764:${tag}]`, "presence:room", data));
        await clock.settle();
        return noted.take();
    }
    return { clock, server, updates, open, undo, tell, ...noted };
}

export const members = (told) =>
    Object.fromEntries(Object.entries(told).map(([key, info]) => [key, { info }]));

export const state = (told, others = 0) => ({
    type: "state",
    members: members(told),
    others,
});

export const diff = (joins, leaves = {}, others = 0) => ({
    type: "diff",
    joins: members(joins),
    leaves: members(leaves),
    others,
});
