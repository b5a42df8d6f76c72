import { seededRandom, silentObserver } from "@longshore/core";
import { systemClock } from "@longshore/nodejs";
import { expect, it } from "vitest";
import { dial, serverInfo } from "../dial.ts";
import type { EndpointKind } from "./kind.ts";
import { kindOf, kindNames, kindsOf, usualKind } from "./list.ts";

const parts = { clock: systemClock(), random: seededRandom(1), observer: silentObserver };
const broken: EndpointKind = {
  kind: "broken",
  dial: () => {
    throw new TypeError("cannot read properties of undefined");
  },
};

it("refuses a kind that is added twice, by its name", () => {
  expect(() => kindsOf(broken, ...kindNames.map((name) => kindOf(name)), broken)).toThrow(
    expect.objectContaining({
      reason: "invalid-configuration",
      message: expect.stringContaining("'broken'") as string,
    }),
  );
});

it("names the kinds that there are for one that is unknown", () => {
  expect(() => serverInfo({ address: "http://h:1", kind: "opi" })).toThrow(/longshore, oip, json.*not 'opi'/);
  expect(() => dial({ ...serverInfo("http://h:1"), kind: "later" }, parts)).toThrow(
    expect.objectContaining({ reason: "invalid-configuration" }),
  );
});

it("says which endpoint it is that its kind cannot dial", () => {
  const info = { ...serverInfo("http://h:1"), kind: "broken" };
  expect(() => dial(info, parts, {}, kindsOf(broken))).toThrow(
    expect.objectContaining({ name: "LongshoreError", message: expect.stringContaining("h:1") as string }),
  );
});

it("checks the settings that are a kind's own before it dials", async () => {
  const kind: EndpointKind = {
    ...kindOf("oip"),
    settings: {
      type: "object",
      properties: { context: { type: "integer", minimum: 1 } },
      additionalProperties: false,
    },
  };
  const info = serverInfo({ address: "http://127.0.0.1:9", kind: "oip", settings: { context: 0 } });
  expect(() => dial(info, parts, {}, kindsOf(kind))).toThrow(
    /settings\.context of 127\.0\.0\.1:9.* of 1 or more/,
  );
  expect(() => dial(info, parts)).toThrow(/settings of .*leave it out/);
  await dial({ ...info, settings: { context: 4096 } }, parts, {}, kindsOf(kind)).close();
});

it("dials each kind that is listed, with the facts that are its own", async () => {
  for (const kind of kindNames) {
    const info = serverInfo({ address: "http://127.0.0.1:9", kind });
    expect(info).toMatchObject({ kind, offers: kind === usualKind });
    await dial(info, parts).close();
  }
});
