export * from "./updates.js";
export { updates as default } from "./updates.js";
