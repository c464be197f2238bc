// A site that gives tokens, and a push server that checks them.

import client from "../../pushserver/static/pushserver/updates.js";
import streams from "../../pushserver/static/pushserver/updates.streams.js";
import tokens from "../../pushserver/static/pushserver/updates.tokens.js";
import { useClock } from "./stage.mjs";

/** Return a token as the server makes it. */
export function makeToken(channels, life, issuedAt = Date.now() / 1000) {
    const content = { c: channels, i: issuedAt, e: issuedAt + life };
    const text = JSON.stringify(content).replace(
        /[^ -~]/g,
        (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
    return `${Buffer.from(text).toString("base64url")}:signature`;
}

export const makeUrl = (id, life) => `/updates/${id}?token=${makeToken([id], life)}`;

/**
 * Replace fetch by a site and its push server.
 *
 * `site.give` is what the token URL answers: a function of the channels. Requests to the
 * push server are held, until tests answer them.
 */
export function useSite(t, life = 100) {
    const real = globalThis.fetch;
    const site = {
        asked: [], // The channels of each request for tokens.
        requests: [], // To the push server.
        give: (ids) => json(Object.fromEntries(ids.map((id) => [id, makeUrl(id, life)]))),
    };
    globalThis.fetch = (address, options) => {
        const url = new URL(address, "http://localhost");
        if (url.pathname === "/tokens") {
            const ids = url.searchParams.getAll("channel");
            site.asked.push(ids);
            site.options = options;
            return Promise.resolve().then(() => site.give(ids, options));
        }
        return new Promise((resolve, reject) => {
            const request = { url, path: url.pathname, ...options, isHeld: true };
            site.requests.push(request);
            request.token = url.searchParams.get("token");
            request.answer = (response) => {
                request.isHeld = false;
                resolve(response);
            };
            options.signal.addEventListener("abort", () => {
                request.isHeld = false;
                reject(options.signal.reason);
            });
        });
    };
    t.after(() => (globalThis.fetch = real));
    site.held = () => site.requests.filter(({ isHeld }) => isHeld);
    return site;
}

export const json = (value) =>
    new Response(JSON.stringify(value), { headers: { "Content-Type": "application/json" } });

/** Set the stage: a clock, a site, and a client that subscribed to channels. */
export async function play(t, channels, { life = 100, withStreams = false } = {}) {
    const clock = useClock(t);
    const site = useSite(t, life);
    const updates = client.createUpdates();
    if (withStreams) {
        streams.attach(updates);
    }
    tokens.attach(updates);
    const got = [];
    const states = [];
    const all = {};
    for (const [name, options] of Object.entries(channels)) {
        all[name] = { url: makeUrl(name, life), tokenUrl: "/tokens", ...options };
        updates.on(name, ({ data }) => got.push([name, data]));
    }
    updates.onState((state, name, detail) => states.push([name, state, detail]));
    updates.subscribe(all);
    t.after(() => updates.close());
    await clock.pass(5);
    return { clock, site, updates, got, states };
}
