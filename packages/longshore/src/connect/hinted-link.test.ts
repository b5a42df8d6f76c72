import { setImmediate as settled } from "node:timers/promises";
import { expect, it } from "vitest";
import { linkModel, seededRandom, silentObserver } from "@longshore/core";
import { type LinkHint, meanOf } from "@longshore/core/internal";
import { systemClock } from "@longshore/nodejs";
import { dialAll } from "./dial-all.ts";
import { endpointDialler, type EndpointParts } from "./directory.ts";
import { serverInfo } from "./dial.ts";
import { hintedLink } from "./hinted-link.ts";

const model = linkModel();
const thin: LinkHint = { upBitsPerSecond: 0.5e6 };
const usualMs = meanOf(hintedLink(model, "http://a:1", false).transferMs(600_000, "up", 0));

/** Parts of a machine that reports the given hint for every link, and records the addresses. */
function machine(hint: LinkHint | undefined) {
  const asked: string[] = [];
  const parts: EndpointParts = {
    clock: systemClock(),
    random: seededRandom(1),
    observer: silentObserver,
    linkHints: async (address) => {
      asked.push(address);
      return hint;
    },
  };
  return { asked, parts };
}

it("begins beliefs about links of servers at the machine's facts, at stated hints, or at nothing", async () => {
  const { asked, parts } = machine(thin);
  const servers = [
    "http://told:1",
    { address: "http://said:1", link: { upBitsPerSecond: 100e6 } },
    { address: "http://none:1", link: false as const },
  ];
  const { endpoints = [], links } = dialAll({ servers }, parts);
  await settled();
  const expectedMs = (id: string): number => {
    const link = links?.(id);
    if (!link) throw new Error(`no belief about the link to ${id}`);
    return meanOf(link.transferMs(600_000, "up", 0));
  };
  expect(asked).toEqual(["http://told:1"]);
  expect(expectedMs("told:1")).toBeGreaterThan(6000);
  expect(expectedMs("said:1")).toBeLessThan(usualMs / 2);
  expect(expectedMs("none:1")).toBe(usualMs);
  await Promise.all(endpoints.map((endpoint) => endpoint.close()));
});

it("reads once for an endpoint of a directory that comes, goes and comes back, and not for a stated hint", async () => {
  const { asked, parts } = machine(thin);
  const dialler = endpointDialler(parts, ({ id }) => (id === "said:1" ? { link: false } : {}));
  const told = serverInfo("http://told:1");
  await dialler.dial(told).close();
  await settled();
  const link = dialler.link(told.id);
  expect(meanOf(link!.transferMs(600_000, "up", 0))).toBeGreaterThan(6000);
  await dialler.dial(told).close();
  await dialler.dial(serverInfo("http://said:1")).close();
  expect(dialler.link(told.id)).toBe(link);
  expect(asked).toEqual(["http://told:1"]);
});

it("keeps measurements made while the machine was read", async () => {
  let tell: (hint: LinkHint) => void = () => undefined;
  const told = new Promise<LinkHint>((resolve) => (tell = resolve));
  const link = hintedLink(model, "http://a:1", undefined, () => told);
  const note = link.sendStarted(400_000, "up", 0);
  for (let part = 1; part <= 20; part++) note.progressed(part * 20_000, 20 + part * 4);
  note.ended(100, true);
  const measuredMs = meanOf(link.transferMs(600_000, "up", 100));
  tell(thin);
  await told;
  await settled();
  expect(meanOf(link.transferMs(600_000, "up", 100))).toBe(measuredMs);
});

it("begins at nothing if the machine may not be read", async () => {
  const link = hintedLink(model, "http://a:1", undefined, () => Promise.reject(new Error("not permitted")));
  await settled();
  expect(meanOf(link.transferMs(600_000, "up", 0))).toBe(usualMs);
});
