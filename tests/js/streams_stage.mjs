// Streams that tests write, and the requests for them.

import client from "../../pushserver/static/pushserver/updates.js";
import streams from "../../pushserver/static/pushserver/updates.streams.js";
import { useClock, useServer } from "./stage.mjs";

export const LOCATION = '/updates/{channels}; separator=","';

/** A response that is written while a test runs. */
export function stream(headers = { "Push-Location": LOCATION }) {
    let controller;
    const body = new ReadableStream({ start: (each) => (controller = each) });
    const encoder = new TextEncoder();
    return {
        response: new Response(body, {
            headers: { "Content-Type": "text/event-stream; charset=utf-8", ...headers },
        }),
        send: (text) => controller.enqueue(encoder.encode(text)),
        sendBytes: (bytes) => controller.enqueue(bytes),
        end: () => controller.close(),
        fail: () => controller.error(new TypeError("network error")),
    };
}

export const head = (position, retry = 2000) => `retry: ${retry}\nid: ${position}\n: hi\n\n`;

/** Return an event of a stream of several channels. */
export const event = (position, channel, data) =>
    `id: ${position}\nchannel: ${channel}\ncontent-type: application/json\n` +
    `data: ${JSON.stringify(data)}\n\n`;

export const paths = ({ requests }) =>
    requests.map(({ url }) => {
        const { pathname, search } = new URL(url, "http://localhost");
        return decodeURIComponent(pathname + search);
    });

export const last = (states, name) => states.filter(([each]) => each === name).at(-1);

/** Set the stage: a clock, a server with these answers, a client that subscribed. */
export async function play(t, channels, ...answers) {
    const clock = useClock(t);
    const server = useServer(t, ...answers);
    const updates = client.createUpdates();
    streams.attach(updates);
    const got = [];
    const gaps = [];
    const states = [];
    for (const name of Object.keys(channels)) {
        updates.on(name, ({ data }) => got.push([name, data]));
        updates.onGap(name, (missed) => gaps.push([name, missed, got.length]));
    }
    updates.onState((state, name, detail) => states.push([name, state, detail]));
    updates.subscribe(channels);
    t.after(() => updates.close());
    await clock.pass(1);
    await clock.pass(1);
    return { clock, server, updates, got, gaps, states };
}

/** The same with a location that the page knows, and a stream that is open. */
export async function listen(t, ids, options = {}) {
    const open = stream();
    const channels = Object.fromEntries(
        ids.map((id) => [id, { url: `/updates/${id}`, location: LOCATION, ...options }]),
    );
    const stage = await play(t, channels, open.response);
    return { ...stage, open };
}
