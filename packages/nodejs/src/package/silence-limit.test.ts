import { manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import type { Call } from "@longshore/core";
import { abortError, housekeepingCall, type PackageSource } from "@longshore/core/internal";
import { withSilenceLimit } from "./silence-limit.ts";

const call = housekeepingCall("test");

const ended = ({ abort }: Call): Promise<never> =>
  new Promise((_resolve, reject) => {
    abort.addEventListener("abort", () => reject(abortError(abort, "transport")), { once: true });
  });

/** Does not answer the request for the manifest; of a file it sends a byte each time `next` is called. */
function silent() {
  const steps: (() => void)[] = [];
  const source: PackageSource = {
    name: "the origin",
    manifest: (_wanted, own) => ended(own),
    file: async (_package, _file, fromByte, own) => ({
      fromByte,
      async *read() {
        for (;;) {
          await Promise.race([new Promise<void>((resolve) => steps.push(resolve)), ended(own)]);
          yield Uint8Array.of(7);
        }
      },
    }),
  };
  return { source, next: () => steps.shift()?.() };
}

it("a transfer whose source stops sending is broken off, after the earlier bytes", async () => {
  const clock = manualClock();
  const { source, next } = silent();
  const heard = withSilenceLimit(source, clock);
  const manifest = expect(heard.manifest({ model: "ocr" }, call)).rejects.toMatchObject({
    reason: "no-answer",
    retryable: true,
    message: expect.stringContaining("the origin sent nothing for 30 s") as string,
  });
  await clock.advance(30_001);
  await manifest;
  const { read } = await heard.file("package", "file", 0, call);
  let bytes = 0;
  const reading = (async () => {
    for await (const chunk of read()) bytes += chunk.byteLength;
  })();
  const broken = expect(reading).rejects.toMatchObject({ reason: "no-answer" });
  // A byte now and then is no silence.
  for (let count = 0; count < 4; count++) {
    await clock.advance(20_000);
    next();
  }
  await clock.advance(30_001);
  await broken;
  expect(bytes).toBe(4);
});

it("it ends with the call", async () => {
  const control = new AbortController();
  const asked = withSilenceLimit(silent().source, manualClock()).manifest(
    { model: "ocr" },
    housekeepingCall("test", control.signal),
  );
  const over = expect(asked).rejects.toMatchObject({ reason: "cancelled" });
  control.abort();
  await over;
});
