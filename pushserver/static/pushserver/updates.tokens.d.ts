// Renews signed URLs. It is imported for its effect, after updates.js and
// updates.streams.js; updates.d.ts has the types.
export {};
