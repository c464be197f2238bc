// Adds updates.eventSource(). It is imported for its effect, after updates.streams.js;
// updates.d.ts has the types.
export {};
