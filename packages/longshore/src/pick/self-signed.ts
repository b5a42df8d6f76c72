import { generateKeyPairSync, randomBytes, sign } from "node:crypto";

/*
 * A certificate that signs itself (RFC 5280), in the few forms of DER that it takes. Gateways connect to an endpoint picker with TLS and do not
 * check the certificate; Node.js makes keys and signatures but no certificates.
 */

const tags = {
  integer: 0x02,
  bits: 0x03,
  octets: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  utcTime: 0x17,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One value: its tag, the length of its content, and the content. */
function der(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  const { length } = body;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}

const oid = (hex: string): Buffer => der(tags.oid, Buffer.from(hex, "hex"));
const ecdsaWithSha256 = der(tags.sequence, oid("2a8648ce3d040302"));
const commonName = oid("550403");
const subjectAltName = oid("551d11");

/** `YYMMDDhhmmssZ`. */
function utcTime(date: Date): Buffer {
  const text = date.toISOString().replace(/[-:T]/g, "").slice(2, 14);
  return der(tags.utcTime, Buffer.from(`${text}Z`));
}

function pem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** Validity from a day before to ten years after `now`: clocks differ, and only a restart renews the certificate. */
const dayMs = 86_400_000;
const years = 10;

/** A new key and its certificate, both in PEM, for one name. */
export function selfSigned(name: string, now: Date): { readonly certificate: string; readonly key: string } {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const subject = der(
    tags.sequence,
    der(tags.set, der(tags.sequence, commonName, der(tags.utf8, Buffer.from(name)))),
  );
  const validity = der(
    tags.sequence,
    utcTime(new Date(now.getTime() - dayMs)),
    utcTime(new Date(now.getTime() + years * 365 * dayMs)),
  );
  // Context tag 2 of a general name is a DNS name.
  const names = der(tags.sequence, der(0x82, Buffer.from(name)), der(0x82, Buffer.from("localhost")));
  const extensions = der(
    0xa3,
    der(tags.sequence, der(tags.sequence, subjectAltName, der(tags.octets, names))),
  );
  const serial = randomBytes(8);
  // Positive and without a leading zero.
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const certified = der(
    tags.sequence,
    der(0xa0, der(tags.integer, Buffer.from([2]))),
    der(tags.integer, serial),
    ecdsaWithSha256,
    subject,
    validity,
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    extensions,
  );
  const signature = sign("sha256", certified, privateKey);
  const certificate = der(
    tags.sequence,
    certified,
    ecdsaWithSha256,
    der(tags.bits, Buffer.from([0]), signature),
  );
  return {
    certificate: pem("CERTIFICATE", certificate),
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}
