// Adds "presence" to updates. It is imported for its effect, after updates.js and its
// other files; updates.d.ts has the types.
export {};
