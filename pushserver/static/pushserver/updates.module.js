// The same as updates.js, for those who like to name what they import:
//     import { updates } from "/static/pushserver/updates.module.js";
import "./updates.js";

export const updates = globalThis.updates;
export default updates;
