export { giveUp } from "./give-up.ts";
export { httpTransport, type HttpTransportOptions } from "./http-transport.ts";
