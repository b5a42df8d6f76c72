import { expect, it } from "vitest";
import { doubleDescription, doubleEndpoint } from "@longshore/testkit";
import { putOnline } from "./put-online.ts";

it("joins no directory when what was to be loaded is there only after it was told to stop", async () => {
  const double = { description: doubleDescription({ name: "double" }), run: () => new Map() };
  for (const stopped of [false, true]) {
    let memberships = 0;
    let drain = (_graceMs: number): Promise<void> => Promise.resolve();
    const join = { address: "http://127.0.0.1:1" };
    const online = await putOnline({ port: 0, join, listening: (how) => void (drain = how) }, () => ({
      endpoint: doubleEndpoint([double], { id: "server" }),
      load: () => ({ atMs: 0, cpuRatio: 0, inFlight: 0, queueMs: 0 }),
      joined: () => void memberships++,
      async begin(ready) {
        if (stopped) await drain(1000);
        ready();
      },
      close: () => Promise.resolve(),
    }));
    await online.close(0);
    expect(memberships).toBe(stopped ? 0 : 1);
  }
});
