import { radios } from "@longshore/core/internal";
import { expect, it } from "vitest";
import { radioTowards } from "./device-radio.ts";

it.each([
  [{ "http://a": "wifi", "http://b": "cellular" }, radios.lte],
  [{ "http://a": "wifi", "http://b": "ethernet" }, radios.wifi],
  [{ "http://a": "ethernet" }, radios.wired],
  [{ "http://a": undefined }, radios.wired],
  [{}, radios.wired],
] as const)("uses the power of the interfaces towards %j", async (kinds, radio) => {
  const hint = (address: string) => {
    const kind = (kinds as Record<string, "wifi" | "cellular" | "ethernet" | undefined>)[address];
    return Promise.resolve(kind === undefined ? undefined : { kind });
  };
  expect(await radioTowards(Object.keys(kinds), hint)).toBe(radio);
});
