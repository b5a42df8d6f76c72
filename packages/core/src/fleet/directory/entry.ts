import type { EndpointId, Json, TenantId, TrustLevel, ZoneId } from "../../words/base/index.ts";
import type {
  Accelerator,
  EndpointInfo,
  EndpointKind,
  StatedRates,
  Tier,
} from "../../wire/endpoint/index.ts";
import { digestFrom, exactly, printable, read, type Reader, shaped } from "../../wire/protocol/index.ts";
import { type Signed, signatureFrom } from "../signed/index.ts";

const { list, number, optional, own, text, whole, word } = read;

/**
 * What the operator says of an endpoint: the widest that it can be. The serial counts up with every change, so that an old
 * entry cannot be replayed over a newer one.
 */
export interface DirectoryEntry {
  readonly schemaVersion: 1;
  readonly id: EndpointId;
  /** 1 or more. */
  readonly serial: number;
  /** Milliseconds since the Unix epoch; it counts from the first until just before the second. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly tier: Tier;
  readonly zone: ZoneId;
  readonly trust: TrustLevel;
  /** Default `longshore`. */
  readonly kind?: EndpointKind;
  /** Undefined: the endpoint says where it is when it joins. */
  readonly address?: string;
  /** For servers of the plain protocol: where they speak gRPC, for models that answer a request several times. */
  readonly grpcAddress?: string;
  /** Undefined: whatever it offers. */
  readonly serves?: EndpointInfo["serves"];
  /** Default `movable`; foreign servers `resident`. */
  readonly state?: EndpointInfo["state"];
  readonly accelerator?: Accelerator;
  /** The prices that requests to it cost at least, and its power. Undefined: no price is known, see `CostRates.unpriced`. */
  readonly rates?: StatedRates;
  /** Who may join as this endpoint; undefined for whoever may join. */
  readonly member?: TenantId;
  /** Digests of the package manifests that the endpoint is to serve. */
  readonly packages?: readonly string[];
}

/** What an endpoint says of itself. It only narrows what the operator said. */
export interface Statement {
  /** Where it is, for entries that do not say. */
  readonly address?: string;
  readonly zone?: ZoneId;
  readonly trust?: TrustLevel;
  readonly serves?: EndpointInfo["serves"];
  readonly state?: EndpointInfo["state"];
}

/** One endpoint of a directory, as it is kept and travels. */
export interface DirectoryRecord {
  readonly signed: Signed<DirectoryEntry>;
  readonly statement?: Statement;
}

const idShape = /^[^\p{Cc}\s,/\\]{1,128}$/u;
const zoneShape = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,15}$/;
/** The id of an endpoint, as paths and headers can carry it. */
export const endpointIdFrom: Reader<EndpointId> = shaped(
  idShape,
  128,
  "an id of 1 to 128 characters without blanks, commas and slashes",
);
/** `device` is the asker's own machine, which lies inside of every zone: no other endpoint is there. */
const zone: Reader<ZoneId> = (value, where) => {
  const found = shaped(zoneShape, 256, "a zone such as eu/de/store-7")(value, where);
  if (found === "device") read.refuse(where, "a zone other than the asker's own device");
  return found;
};
const trust = word("none", "listed", "operated", "vouched");
const state = word("none", "resident", "movable");
/** Until the year 9999. */
export const instant: Reader<number> = whole(0, 253_402_300_799_999);
const name = text(256);
const price = number(0);

/** A base address without credentials, query or fragment, so that it can be shown and extended. */
const address: Reader<string> = (value, where) => {
  const found = text(1024)(value, where);
  const url = URL.canParse(found) ? new URL(found) : undefined;
  if (
    !url ||
    !/^https?:$/.test(url.protocol) ||
    url.username !== "" ||
    url.password !== "" ||
    url.search !== "" ||
    url.hash !== ""
  ) {
    read.refuse(where, "an address such as http://host:port");
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
  schemaVersion: word(1),
  id: endpointIdFrom,
  serial: whole(1),
  notBeforeMs: instant,
  notAfterMs: instant,
  tier: word("device", "edge", "cloud"),
  zone,
  trust,
  kind: optional(word("longshore", "oip", "json")),
  address: optional(address),
  grpcAddress: optional(address),
  serves: optional(serves),
  state: optional(state),
  accelerator: optional(
    exactly({
      kind: name,
      name: optional(name),
      count: optional(whole(1, 65_536)),
      memoryBytes: optional(whole(0)),
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

/** Reads an entry. Throws `invalid-input`, with the field that is wrong; unknown fields are. */
export const entryFrom: Reader<DirectoryEntry> = (value, where) => {
  const found = entryFields(value, where);
  const { grpcAddress, kind = "longshore" } = found;
  if (grpcAddress !== undefined && (kind === "longshore" || new URL(grpcAddress).pathname !== "/")) {
    read.refuse(`${where}.grpcAddress`, "an address without a path, of an endpoint of kind oip or json");
  }
  if (grpcAddress?.startsWith("http:") === true && found.address?.startsWith("https:") === true) {
    read.refuse(`${where}.grpcAddress`, "an https address, as the endpoint's own is");
  }
  if (found.notAfterMs <= found.notBeforeMs) read.refuse(`${where}.notAfterMs`, "after notBeforeMs");
  return found;
};

/** Reads what an endpoint says of itself. Newer endpoints may say more; what is known is checked. */
export const statementFrom: Reader<Statement> = read.fields({
  address: optional(address),
  zone: optional(zone),
  trust: optional(trust),
  serves: optional(serves),
  state: optional(state),
});

/** Reads an entry with its signature, which is not checked here. */
export const signedEntryFrom: Reader<Signed<DirectoryEntry>> = exactly({
  body: entryFrom,
  signature: optional(signatureFrom),
});

/** Reads a record. */
export const recordFrom: Reader<DirectoryRecord> = exactly({
  signed: signedEntryFrom,
  statement: optional(statementFrom),
});

/** The id that a record claims, as far as it can be told: to name what is refused. */
export function claimedId(record: unknown): string {
  const signed = typeof record === "object" && record !== null ? own(record, "signed") : undefined;
  const body = typeof signed === "object" && signed !== null ? own(signed, "body") : undefined;
  const id = typeof body === "object" && body !== null ? own(body, "id") : undefined;
  return typeof id === "string" ? printable(id) : "?";
}

/** An entry as the JSON that is signed. */
export function entryJson(entry: DirectoryEntry): Json {
  // Entries are plain data: every field is JSON or undefined, and canonical JSON leaves out the latter.
  return entry as unknown as Json;
}
