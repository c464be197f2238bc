// Adds the transport "websocket". It is imported for its effect, after
// updates.streams.js; updates.d.ts has the types.
export {};
