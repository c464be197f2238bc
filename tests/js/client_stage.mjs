// A page that subscribed to a channel, and the server that it asks.

import client from "../../pushserver/static/pushserver/updates.js";
import { useClock, useServer } from "./stage.mjs";

export const URL_A = "/updates/a";

/** Set the stage: a clock, a server with these answers, a client that subscribed. */
export async function play(t, answers, channel = URL_A) {
    const clock = useClock(t);
    const server = useServer(t, ...answers);
    const updates = client.createUpdates();
    const got = [];
    const states = [];
    updates.on("a", ({ data }) => got.push(data));
    updates.onState((state, name, detail) => states.push([state, detail]));
    updates.subscribe({ a: channel });
    t.after(() => updates.close());
    await clock.pass(1);
    return { clock, server, updates, got, states };
}

export const names = (states) => states.map(([state]) => state);
