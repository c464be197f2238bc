// The same as updates.js, for those who like to name what they import: this file exports
// "updates". (It has no example, because collectstatic would take that for an import.)
import "./updates.js";

export const updates = globalThis.updates;
export default updates;
