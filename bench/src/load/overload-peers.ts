import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import {
  type RunningPeer,
  type ServedModel,
  type ServerSetup,
  startMlserver,
  startTriton,
} from "@longshore/conformance";
import type { Stream } from "./messages.ts";

/** The form of a request to one server for an answer within the given milliseconds. */
export type OverloadRequest = (
  withinMs: number,
  headers: Readonly<Record<string, string>>,
) => Pick<Stream, "headers" | "json" | "tensorBytes">;

/** The JSON before the bytes of a request with one input `x`, of all zeros. */
export function binaryRequest(
  shape: readonly number[],
  parameters: Readonly<Record<string, number>> = {},
): string {
  const size = shape.reduce((product, one) => product * one, 4);
  const input = { name: "x", datatype: "FP32", shape, parameters: { binary_data_size: size } };
  return JSON.stringify({ inputs: [input], parameters: { binary_data_output: true, ...parameters } });
}

/** A server of other people that answers. */
export interface OverloadPeer {
  readonly name: string;
  readonly settings: string;
  readonly port: number;
  readonly pid: number;
  readonly asks: OverloadRequest;
  close(): Promise<void>;
}

/** Why one cannot be had here. */
export interface MissingPeer {
  readonly name: string;
  readonly why: string;
}

/**
 * Triton, whose queue drops what has waited for longer than the request says or the deadline (the settings that hold its
 * goodput up best), and MLServer, which knows no deadlines and takes JSON over HTTP.
 */
export function overloadPeers(about: {
  readonly file: string;
  readonly rowShape: readonly number[];
  readonly deadlineMs: number;
}): Readonly<Record<string, () => Promise<OverloadPeer | MissingPeer>>> {
  const { file, rowShape, deadlineMs } = about;
  const size = rowShape.reduce((product, one) => product * one, 4);
  const model: ServedModel = {
    name: "small",
    file,
    input: { name: "x", datatype: "FP32", shape: [...rowShape] },
    output: { name: "y", datatype: "FP32", shape: [1, 10] },
    batch: 1,
  };
  const opened = async (
    name: string,
    asks: OverloadRequest,
    start: (setup: ServerSetup) => Promise<RunningPeer>,
  ): Promise<OverloadPeer | MissingPeer> => {
    const folder = mkdtempSync(join(tmpdir(), `longshore-overload-${name}-`));
    const cores = Array.from({ length: availableParallelism() }, (_, core) => core);
    try {
      const peer = await start({
        models: [model],
        cores,
        spread: { copies: cores.length, threads: 1 },
        folder,
      });
      return {
        name,
        settings: peer.settings,
        port: Number(peer.http.split(":")[1]),
        pid: peer.pid,
        asks,
        async close() {
          await peer.close();
          rmSync(folder, { recursive: true });
        },
      };
    } catch (thrown) {
      rmSync(folder, { recursive: true, force: true });
      return { name, why: thrown instanceof Error ? thrown.message : String(thrown) };
    }
  };
  const asksTriton: OverloadRequest = (withinMs) => ({
    headers: {},
    json: binaryRequest(rowShape, { timeout: Math.round(withinMs * 1000) }),
    tensorBytes: size,
  });
  const zeros = `[${Array.from({ length: size / 4 }, () => "0.0").join(",")}]`;
  const json = `{"inputs":[{"name":"x","datatype":"FP32","shape":${JSON.stringify(rowShape)},"data":${zeros}}]}`;
  const asksMlserver: OverloadRequest = () => ({
    headers: { "content-type": "application/json" },
    json,
    tensorBytes: 0,
  });
  return {
    triton: () => opened("triton", asksTriton, (setup) => startTriton(setup, { queueTimeoutMs: deadlineMs })),
    mlserver: () => opened("mlserver", asksMlserver, startMlserver),
  };
}
