// Lets updates.js use streams. It is imported for its effect, after updates.js or
// updates.module.js; updates.d.ts has the types.
export {};
