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

it("looks a name up when it is first used and again after half a minute; the last address stands", async () => {
  const clock = virtualClock();
  const answers = ["10.0.0.1", undefined, "10.0.0.2"];
  const asked: string[] = [];
  const addresses = createAddresses(clock, async (name) => {
    asked.push(name);
    const answer = answers[asked.length - 1];
    if (answer === undefined) throw new Error("no such name");
    return answer;
  });
  const info = { address: "http://edge:8000" };
  expect(addresses.of(info)).toBeUndefined();
  expect(addresses.of(info)).toBeUndefined();
  await addresses.coming;
  expect(addresses.of(info)).toBe("10.0.0.1:8000");
  expect(addresses.coming).toBeUndefined();
  expect([asked, addresses.changes]).toEqual([["edge"], 1]);
  const later = async (ms: number): Promise<string | undefined> => {
    await clock.advance(ms);
    addresses.renew();
    await Promise.resolve();
    return addresses.of(info);
  };
  expect(await later(20_000)).toBe("10.0.0.1:8000");
  expect(asked).toHaveLength(1);
  expect(await later(11_000)).toBe("10.0.0.1:8000");
  expect(await later(31_000)).toBe("10.0.0.2:8000");
  expect([asked.length, addresses.changes]).toEqual([3, 2]);
});

it("looks a name without an address up again after a second", async () => {
  const clock = virtualClock();
  let known = false;
  const addresses = createAddresses(clock, async () => {
    if (!known) throw new Error("no such name");
    return "10.0.0.1";
  });
  const info = { address: "http://edge" };
  addresses.of(info);
  await addresses.coming;
  known = true;
  await clock.advance(1100);
  addresses.renew();
  await Promise.resolve();
  expect(addresses.of(info)).toBe("10.0.0.1:80");
});

it("takes IP addresses as they are", () => {
  const addresses = createAddresses(virtualClock(), () => Promise.reject(new Error("asked")));
  const of = (address: string) => addresses.of({ address });
  expect(of("http://10.0.0.1:8000")).toBe("10.0.0.1:8000");
  expect(of("http://[::1]:8000")).toBe("[::1]:8000");
  expect(of("http://edge:8000")).toBeUndefined();
});
