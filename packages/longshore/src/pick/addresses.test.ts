import { virtualClock } from "@longshore/lab";
import { expect, it } from "vitest";
import { createAddresses, hostAndPort } from "./addresses.ts";

it("reads host, port and scheme of an endpoint's address", () => {
  expect(hostAndPort({ address: "http://10.0.0.1:8000" })).toEqual({
    host: "10.0.0.1",
    port: 8000,
    tls: false,
  });
  expect(hostAndPort({ address: "https://edge.example" })).toEqual({
    host: "edge.example",
    port: 443,
    tls: true,
  });
  expect(hostAndPort({ address: "http://[::1]" })).toEqual({ host: "::1", port: 80, tls: false });
  expect(hostAndPort({ address: "nats://a:1" })).toBeUndefined();
  expect(hostAndPort({})).toBeUndefined();
});

it("looks a name up when it is first used and again after half a minute, without a wait; the last address stands", async () => {
  const clock = virtualClock();
  const answers = ["10.0.0.1", undefined, "10.0.0.2"];
  const asked: string[] = [];
  const addresses = createAddresses(clock, async (name) => {
    asked.push(name);
    const answer = answers[asked.length - 1];
    if (answer === undefined) throw new Error("no such name");
    return answer;
  });
  const info = { address: "http://edge:8000" } as Parameters<typeof addresses.of>[0];
  const settled = async (): Promise<string | undefined> => {
    const now = await addresses.of(info);
    await Promise.resolve();
    return now;
  };
  expect(await settled()).toBe("10.0.0.1:8000");
  expect(await settled()).toBe("10.0.0.1:8000");
  expect(asked).toHaveLength(1);
  await clock.advance(31_000);
  await settled();
  expect(await settled()).toBe("10.0.0.1:8000");
  await clock.advance(31_000);
  await settled();
  expect(await settled()).toBe("10.0.0.2:8000");
  expect(asked).toEqual(["edge", "edge", "edge"]);
});

it("takes IP addresses as they are", async () => {
  const addresses = createAddresses(virtualClock(), () => Promise.reject(new Error("asked")));
  const of = (address: string) => addresses.of({ address } as Parameters<typeof addresses.of>[0]);
  expect(await of("http://10.0.0.1:8000")).toBe("10.0.0.1:8000");
  expect(await of("http://[::1]:8000")).toBe("[::1]:8000");
  expect(await of("http://edge:8000")).toBeUndefined();
});
