import type { WireRequest } from "@longshore/core";
import { allRights, type Identify, type Identity, type Right } from "./identity.ts";

/** Headers that only a browser's page or a proxy sends. */
const strangersMarks: readonly string[] = ["origin", "forwarded", "x-forwarded-for", "via"];

/**
 * Values of `sec-fetch-site` that only a page causes. Images and scripts of a page are loaded with GET and without an `Origin`. `none` is an
 * address that a person typed.
 */
const pageSites: readonly string[] = ["cross-site", "same-site", "same-origin"];

const localHost = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?$/;

/**
 * Tells whether a request comes from a program on this machine. A browser on this machine counts as its web page, not as
 * this machine: a request with an `Origin`, one that a page caused (`sec-fetch-site`), or one under a host name that is not this machine's (DNS
 * rebinding), is a stranger's; so is one that a proxy on this machine passed on.
 */
export function fromThisMachine({ headers, peer }: WireRequest): boolean {
  return (
    peer?.loopback === true &&
    strangersMarks.every((name) => headers[name] === undefined) &&
    !pageSites.includes(headers["sec-fetch-site"] ?? "none") &&
    (headers["host"] === undefined || localHost.test(headers["host"]))
  );
}

/** The default without configured identity: a program on this machine has every right, all others may infer whole models. */
export function loopbackIdentity(): Identify {
  const local: Identity = { tenant: "local", rights: new Set(allRights) };
  const stranger: Identity = { tenant: "anonymous", rights: new Set<Right>(["infer"]) };
  return (request) => (fromThisMachine(request) ? local : stranger);
}
