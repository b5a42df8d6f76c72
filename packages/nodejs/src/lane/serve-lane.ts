import type { MessagePort } from "node:worker_threads";
import { type Json, LongshoreError } from "@longshore/core";
import { chainRunner, type ChainStep, type TransformSet } from "@longshore/engine";
import { type EndMessage, type PackedStep, type ChainMessage, send, unpack } from "./lane-message.ts";

/**
 * Makes a thread serve chains of the given transforms to the lane at the other end of `port`. A file that does this with
 * transforms of one's own is what `workerLane` takes as `workerUrl`.
 *
 * @example
 * ```ts
 * import { MessageChannel } from "node:worker_threads";
 * import { transformSet } from "@longshore/engine";
 * import { mediaTransforms, serveLane } from "@longshore/nodejs";
 *
 * // In the file that `workerLane` gets as `workerUrl`: parentPort instead of a channel.
 * const { port1, port2 } = new MessageChannel();
 * serveLane(port1, transformSet(...mediaTransforms()));
 * port2.close();
 * ```
 */
export function serveLane(port: MessagePort, transforms: TransformSet): void {
  const runner = chainRunner(transforms);
  const parameters = new Map<number, Json>();

  function stepOf({ parameters: given, ...step }: PackedStep): ChainStep {
    if ("value" in given) return { ...step, parameters: given.value };
    const known = parameters.get(given.known);
    if (known !== undefined) return { ...step, parameters: known };
    throw new LongshoreError(
      "internal",
      "execute",
      `parameters ${given.known} were never sent to this thread`,
    );
  }

  async function run(message: ChainMessage): Promise<void> {
    const { id, values, keep, learn, forget } = message;
    const stopped = new Int32Array(message.stopped);
    for (const known of forget) parameters.delete(known);
    for (const [known, value] of learn) parameters.set(known, value);
    const check = (): void => {
      if (Atomics.load(stopped, 0) === id) {
        throw new LongshoreError("cancelled", "execute", "the caller cancelled the request");
      }
    };
    const chain = message.chain.map(stepOf);
    const surroundings = { nowMs: () => performance.now(), check };
    const result = await runner.run(chain, unpack(values), keep, surroundings);
    send(
      port,
      result.values,
      () => true,
      (packed) => ({ id, values: packed, tookMs: result.tookMs }),
    );
  }

  const loaded: EndMessage = { loaded: true };
  port.postMessage(loaded);
  port.on("message", (message: ChainMessage) => {
    run(message).catch((thrown: unknown) => {
      const {
        reason,
        stage,
        message: text,
      } = LongshoreError.from(thrown, "execute", "a chain of transforms");
      const end: EndMessage = { id: message.id, error: { reason, stage, message: text } };
      port.postMessage(end);
    });
  });
}
