import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { afterEach, expect, it } from "vitest";
import { housekeepingCall } from "@longshore/core/internal";
import { systemClock } from "@longshore/nodejs";
import { tritonMetrics } from "@longshore/testkit";
import { testAuthority } from "@longshore/testkit/certificates";
import { loadOf } from "./foreign-load.ts";

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

it("shows the server's credentials to no other port: neither credentials nor a certificate", async () => {
  const authority = await testAuthority();
  const served = await authority.issue({ name: "server", addresses: ["127.0.0.1"] });
  const own = await authority.issue({ name: "gateway" });
  const shown: [token: string | undefined, certificate: string | undefined][] = [];
  const start = async (): Promise<number> => {
    const server = createServer(
      {
        key: served.keyPem,
        cert: served.certificatePem,
        ca: authority.certificatePem,
        requestCert: true,
        rejectUnauthorized: false,
      },
      (request, response) => {
        // Connections of a server for HTTPS are TLS.
        const { subject } = (request.socket as TLSSocket).getPeerCertificate();
        shown.push([request.headers.authorization, subject?.CN as string | undefined]);
        response.end(tritonMetrics({ finished: 1, runSeconds: 1 }));
      },
    ).listen(0, "127.0.0.1");
    await once(server, "listening");
    open.push(server);
    return (server.address() as AddressInfo).port;
  };
  const [port, other] = [await start(), await start()];
  const tls = {
    authorities: authority.certificatePem,
    certificate: own.certificatePem,
    key: own.keyPem,
  };
  const credentials = { bearer: "secret" };
  for (const metrics of [`:${port}`, `:${other}`]) {
    const load = loadOf(`https://127.0.0.1:${port}`, systemClock(), { metrics, credentials, tls });
    open.push(load!);
    await load!.read({ underWay: 0, finished: 0 }, housekeepingCall("test"));
  }
  expect(shown).toEqual([
    ["Bearer secret", "gateway"],
    [undefined, undefined],
  ]);
});
