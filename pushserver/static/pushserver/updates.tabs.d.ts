// Lets the tabs of a browser use one connection. It is imported for its effect, after
// updates.streams.js; updates.d.ts has the types.
export {};
