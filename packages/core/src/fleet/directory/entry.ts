import type { EndpointId, Json, TenantId, TrustLevel, ZoneId } from "../../words/base/index.ts";
import type { Accelerator, EndpointInfo, StatedRates, Tier } from "../../wire/endpoint/index.ts";
import { digestFrom, exactly, printable, read, type Reader, shaped } from "../../wire/protocol/index.ts";
import { type Signed, signatureFrom } from "../signed/index.ts";

const { anyJson, dictionary, list, readNumber, optional, own, readText, readWhole, readWord } = read;

/**
 * The operator's statement about an endpoint, which bounds everything the endpoint states. The serial increases with every change, so an
 * old entry cannot be replayed over a newer one.
 */
export interface DirectoryEntry {
  readonly schemaVersion: 1;
  readonly id: EndpointId;
  /** 1 or more. */
  readonly serial: number;
  /** Milliseconds since the Unix epoch. The entry holds from the first until just before the second. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly tier: Tier;
  readonly zone: ZoneId;
  readonly trust: TrustLevel;
  /** Name of a kind of endpoint. Default `longshore`. A participant that does not know it leaves the endpoint out. */
  readonly kind?: string;
  /** See `EndpointInfo.settings`. */
  readonly settings?: EndpointInfo["settings"];
  /** Undefined: the endpoint states its address when it joins. */
  readonly address?: string;
  /** Where it speaks gRPC: for proxies, and at servers of the plain protocol for models with several answers per request. */
  readonly grpcAddress?: string;
  /** Undefined: everything it offers. */
  readonly serves?: EndpointInfo["serves"];
  /** Default `movable`; for foreign servers `resident`. */
  readonly state?: EndpointInfo["state"];
  readonly accelerator?: Accelerator;
  /** Minimum prices of requests to it, and its power. Undefined: the price is unknown, see `CostRates.unpriced`. */
  readonly rates?: StatedRates;
  /** The tenant that may join as this endpoint; undefined allows every tenant with the right to join. */
  readonly member?: TenantId;
  /** Digests of the package manifests assigned to the endpoint. */
  readonly packages?: readonly string[];
}

/** An endpoint's statement about itself. It can only narrow the operator's. */
export interface Statement {
  /** Its address, for entries without one. */
  readonly address?: string;
  readonly zone?: ZoneId;
  readonly trust?: TrustLevel;
  readonly serves?: EndpointInfo["serves"];
  readonly state?: EndpointInfo["state"];
}

/** One endpoint of a directory, in its stored and transmitted form. */
export interface DirectoryRecord {
  readonly signed: Signed<DirectoryEntry>;
  readonly statement?: Statement;
}

const idShape = /^[^\p{Cc}\s,/\\]{1,128}$/u;
const zoneShape = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,15}$/;
/** The ID of an endpoint, in a form that paths and headers can carry. */
export const endpointIdFrom: Reader<EndpointId> = shaped(
  idShape,
  128,
  "an id of 1 to 128 characters without blanks, commas and slashes",
);
/** `device` is the machine that sends the request, which lies inside every zone, so no other endpoint may be in it. */
const zone: Reader<ZoneId> = (value, where) => {
  const found = shaped(zoneShape, 256, "a zone such as eu/de/store-7")(value, where);
  if (found === "device") read.refuseField(where, "a zone other than the asker's own device");
  return found;
};
const trust = readWord("none", "listed", "operated", "vouched");
const state = readWord("none", "resident", "movable");
/** Up to the year 9999. */
export const instant: Reader<number> = readWhole(0, 253_402_300_799_999);
const name = readText(256);
const price = readNumber(0);
/** Any kind, also one of later versions: whether it is known shows where the endpoint is dialled. */
const kind = shaped(/^[a-z][a-z0-9-]*$/, 32, "a kind of endpoint such as oip");

/** A base address without credentials, query or fragment, so that it can be displayed and extended. */
const address: Reader<string> = (value, where) => {
  const found = readText(1024)(value, where);
  const url = URL.canParse(found) ? new URL(found) : undefined;
  if (
    !url ||
    !/^https?:$/.test(url.protocol) ||
    url.username !== "" ||
    url.password !== "" ||
    url.search !== "" ||
    url.hash !== ""
  ) {
    read.refuseField(where, "an address such as http://host:port");
  }
  return found;
};

const serves = list(
  exactly({
    segment: exactly({
      model: name,
      version: optional(name),
      variant: optional(name),
      from: optional(name),
      to: optional(name),
    }),
    as: optional(name),
  }),
  1024,
);

const entryFields = exactly({
  schemaVersion: readWord(1),
  id: endpointIdFrom,
  serial: readWhole(1),
  notBeforeMs: instant,
  notAfterMs: instant,
  tier: readWord("device", "edge", "cloud"),
  zone,
  trust,
  kind: optional(kind),
  settings: optional(dictionary(anyJson(8), 256)),
  address: optional(address),
  grpcAddress: optional(address),
  serves: optional(serves),
  state: optional(state),
  accelerator: optional(
    exactly({
      kind: name,
      name: optional(name),
      count: optional(readWhole(1, 65_536)),
      memoryBytes: optional(readWhole(0)),
    }),
  ),
  rates: optional(
    exactly({
      microsPerSecond: optional(price),
      microsPerRequest: optional(price),
      microsPerMegabyte: optional(price),
      microsPerMegabyteIn: optional(price),
      microsPerMegabyteOut: optional(price),
      microsPerJoule: optional(price),
      activeWatts: optional(price),
    }),
  ),
  member: optional(name),
  packages: optional(list(digestFrom, 256)),
});

/** Parses an entry. Throws `invalid-input` with the wrong field. Unknown fields are errors. */
export const entryFrom: Reader<DirectoryEntry> = (value, where) => {
  const found = entryFields(value, where);
  const { grpcAddress } = found;
  if (grpcAddress !== undefined && new URL(grpcAddress).pathname !== "/") {
    read.refuseField(`${where}.grpcAddress`, "an address without a path");
  }
  if (grpcAddress?.startsWith("http:") === true && found.address?.startsWith("https:") === true) {
    read.refuseField(`${where}.grpcAddress`, "an https address, as the endpoint's own is");
  }
  if (found.notAfterMs <= found.notBeforeMs) read.refuseField(`${where}.notAfterMs`, "after notBeforeMs");
  return found;
};

/** Parses an endpoint's statement. Newer endpoints may send more fields; known ones are checked. */
export const statementFrom: Reader<Statement> = read.fields({
  address: optional(address),
  zone: optional(zone),
  trust: optional(trust),
  serves: optional(serves),
  state: optional(state),
});

/** Parses an entry with its signature. The signature is not checked here. */
export const signedEntryFrom: Reader<Signed<DirectoryEntry>> = exactly({
  body: entryFrom,
  signature: optional(signatureFrom),
});

/** Parses a record. */
export const recordFrom: Reader<DirectoryRecord> = exactly({
  signed: signedEntryFrom,
  statement: optional(statementFrom),
});

/** The ID that a record claims, if readable: to name refused records. */
export function claimedId(record: unknown): string {
  const signed = typeof record === "object" && record !== null ? own(record, "signed") : undefined;
  const body = typeof signed === "object" && signed !== null ? own(signed, "body") : undefined;
  const id = typeof body === "object" && body !== null ? own(body, "id") : undefined;
  return typeof id === "string" ? printable(id) : "?";
}

/** The JSON of an entry that is signed. */
export function entryJson(entry: DirectoryEntry): Json {
  // Entries are plain data: every field is JSON or undefined, and canonical JSON leaves out the latter.
  return entry as unknown as Json;
}
