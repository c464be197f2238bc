// The same as updates.js, as a module that exports "updates". (There is no example here,
// because collectstatic would read it as an import.)
import "./updates.js";

export const updates = globalThis.updates;
export default updates;
