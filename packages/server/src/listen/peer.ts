import { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Peer } from "@longshore/core";
import type { PeerCertificate } from "@longshore/core/internal";

/** One entry of a certificate's alternative names; Node.js quotes values that could be mistaken for several. */
const altName = /(?:^|, )([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)/g;

/** The URI names of a certificate. A quoted one stays quoted: it is not a name to identify a client by. */
export function uriNames(subjectAltName: string | undefined): readonly string[] {
  return [...(subjectAltName ?? "").matchAll(altName)]
    .filter(([, kind]) => kind === "URI")
    .map(([, , value]) => value ?? "");
}

interface KnownPeer {
  readonly peer: Peer;
  /** Milliseconds since the Unix epoch until which its certificate is valid. */
  readonly untilMs: number;
}

function certificateOf(socket: TLSSocket): { facts: PeerCertificate; untilMs: number } | undefined {
  const raw = socket.getPeerCertificate().raw as Uint8Array | undefined;
  if (!raw) return undefined;
  const certificate = new X509Certificate(raw);
  return {
    untilMs: Date.parse(certificate.validTo),
    facts: {
      verified: socket.authorized,
      fingerprint: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
      subject: certificate.subject.replaceAll("\n", ", "),
      uris: uriNames(certificate.subjectAltName),
    },
  };
}

function knownPeer(socket: Socket): KnownPeer {
  const address = (socket.remoteAddress ?? "").replace(/^::ffff:/, "");
  const loopback = address === "::1" || address.startsWith("127.");
  if (!(socket instanceof TLSSocket)) return { peer: { address, loopback }, untilMs: Infinity };
  const shown = certificateOf(socket);
  return {
    peer: { address, loopback, encrypted: true, ...(shown ? { certificate: shown.facts } : {}) },
    untilMs: shown?.untilMs ?? Infinity,
  };
}

/**
 * A listener's knowledge of the peer of a connection. Certificates are read once for each connection; one that expires while
 * its connection lives is not believed from then on.
 */
export function createPeerReader(wallMs: () => number): (socket: Socket) => Peer {
  const known = new WeakMap<Socket, KnownPeer>();
  return (socket) => {
    let found = known.get(socket);
    if (!found) {
      found = knownPeer(socket);
      known.set(socket, found);
    }
    const { peer, untilMs } = found;
    const { certificate } = peer;
    if (!certificate || wallMs() < untilMs) return peer;
    return { ...peer, certificate: { ...certificate, verified: false } };
  };
}
