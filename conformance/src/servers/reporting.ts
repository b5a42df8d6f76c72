import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createHttp2Server, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";

/** A server of nothing that reports the load that it is told to report, over HTTP and gRPC. */
export interface ReportingServer {
  readonly http: string;
  readonly grpc: string;
  /** Changes what it reports: requests in a second, and utilisation. */
  report(perSecond: number, utilisation: number): void;
  close(): Promise<void>;
}

/** ORCA's report in protobuf: `cpu_utilization` is field 1, `rps_fractional` field 6. */
function reportBytes(perSecond: number, utilisation: number): Buffer {
  const bytes = Buffer.alloc(18);
  bytes[0] = (1 << 3) | 1;
  bytes.writeDoubleLE(utilisation, 1);
  bytes[9] = (6 << 3) | 1;
  bytes.writeDoubleLE(perSecond, 10);
  return bytes;
}

/** Starts it on free ports of this machine. */
export async function startReporting(): Promise<ReportingServer> {
  let [perSecond, utilisation] = [1, 1];
  const http = createServer((request, response) => {
    request.resume();
    const load = `TEXT cpu_utilization=${utilisation},rps_fractional=${perSecond}`;
    response.writeHead(200, { "content-type": "application/json", "endpoint-load-metrics": load });
    response.end('{"planted":true}');
  }).listen(0, "127.0.0.1");
  const grpc = createHttp2Server().listen(0, "127.0.0.1");
  const sessions = new Set<ServerHttp2Session>();
  grpc.on("session", (session: ServerHttp2Session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  grpc.on("stream", (stream) => {
    stream.on("error", () => undefined);
    stream.resume();
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.once("wantTrailers", () => {
      const load = reportBytes(perSecond, utilisation).toString("base64");
      stream.sendTrailers({ "grpc-status": "0", "endpoint-load-metrics-bin": load });
    });
    // One empty message.
    stream.end(Buffer.alloc(5));
  });
  await Promise.all([once(http, "listening"), once(grpc, "listening")]);
  const at = (server: { address(): string | AddressInfo | null }): string =>
    `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    http: at(http),
    grpc: at(grpc),
    report(now, used) {
      [perSecond, utilisation] = [now, used];
    },
    async close() {
      http.closeAllConnections();
      for (const session of sessions) session.destroy();
      await Promise.all([http, grpc].map((one) => new Promise((resolve) => one.close(resolve))));
    },
  };
}
