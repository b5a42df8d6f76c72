export { listen, type Listening } from "./listen.ts";
export type { ListenOptions } from "./options.ts";
