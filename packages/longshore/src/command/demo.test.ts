import { describe, expect, it } from "vitest";
import { scenes } from "../demo/scenes.ts";
import { comparisonTable, sceneText } from "../demo/words.ts";
import type { Row } from "../demo/play.ts";
import type { SceneOutcome } from "../demo/run-scenes.ts";
import { demoHtml } from "../demo/html.ts";
import { demoJson } from "../demo/json.ts";
import { chosenScenes } from "./demo.ts";
import { runCommand } from "./run-command.ts";

const row: Row = {
  index: 0,
  input: "images/receipt-1.jpg",
  where: "device > cloud (at turn, jpeg-85)",
  because: "it is the fastest",
  happened: "",
  predictedMs: 300,
  tookMs: 310,
  sentBytes: 43_000,
  receivedBytes: 900,
  millijoules: 1240,
  energyLabel: "estimated",
  answer: "99.5 % of text",
  rightRatio: 0.995,
};
const failed: Row = {
  ...row,
  where: "",
  tookMs: 10_000,
  millijoules: NaN,
  rightRatio: 0,
  failed: "policy-denied",
};
const [scene] = scenes.filter(({ name }) => name === "thin-uplink");
const outcome: SceneOutcome = {
  scene: scene!,
  links: ["cloud: 0.75 Mbit/s thin (synthetic, seed 7), 20 ms one way"],
  rows: [row, { ...row, index: 1, tookMs: 330 }],
  fixed: [
    { endpoint: "device", rows: [{ ...row, where: "device", tookMs: 900 }] },
    { endpoint: "edge", rows: [failed] },
    { endpoint: "cloud", rows: [{ ...row, where: "cloud", tookMs: 1500 }] },
  ],
  realCrowd: [],
};

function quiet(): { readonly said: string[]; readonly io: Parameters<typeof runCommand>[1] } {
  const said: string[] = [];
  const say = (text: string): void => void said.push(text);
  return {
    said,
    io: {
      out: say,
      note: say,
      progress: () => undefined,
      environment: {},
      stop: new AbortController().signal,
    },
  };
}

describe("demo", () => {
  it("lists its scenes for people and as JSON", async () => {
    const people = quiet();
    expect(await runCommand(["demo", "--scene", "list"], people.io)).toBe(0);
    for (const { name, title } of scenes)
      expect(people.said.join("\n")).toMatch(new RegExp(`${name} +${title}`));
    const script = quiet();
    expect(await runCommand(["demo", "--scene", "list", "--json"], script.io)).toBe(0);
    expect(JSON.parse(script.said.join(""))).toHaveLength(scenes.length);
  });

  it("refuses a scene that there is not, and names those that there are", async () => {
    const { said, io } = quiet();
    expect(await runCommand(["demo", "--scene", "moon"], io)).toBe(2);
    expect(said.join()).toMatch(/no scene 'moon'; there are offline, .*voice/);
  });

  it("plays the chosen scenes in the order of the story, all when none is named", () => {
    expect(chosenScenes(["voice", "offline"]).map(({ name }) => name)).toEqual(["offline", "voice"]);
    expect(chosenScenes([])).toBe(scenes);
    expect(new Set(scenes.map(({ name }) => name)).size).toBe(scenes.length);
  });

  it("reports each request, and the best single endpoint", () => {
    const text = sceneText(outcome);
    expect(text).toContain(
      "1  receipt-1.jpg  device > cloud (at turn, jpeg-85)     300 ms  310 ms  43 kB  1.24 J e",
    );
    expect(text).toContain(
      "Ran on device > cloud (at turn, jpeg-85): 320 ms; the best single endpoint is device with 900 ms; no request was lost.",
    );
  });

  it("compares with each endpoint alone and says why one has no figure", () => {
    expect(comparisonTable([outcome])).toMatch(
      /thin-uplink +320 ms +device > .* +900 ms +failed \(policy-denied\) +1\.50 s/,
    );
  });

  it("counts lost requests and leaves unknown figures empty in JSON", () => {
    const lost = { ...outcome, rows: [row, failed] };
    const setup = { seed: 7, requests: 2, node: "v20", platform: "linux", processor: "one", tookMs: 1 };
    expect(demoJson([lost], setup)).toMatchObject({
      lostRequests: 1,
      scenes: [
        {
          scene: "thin-uplink",
          requests: [{ millijoules: 1240 }, { millijoules: null, failed: "policy-denied" }],
        },
      ],
    });
    expect(sceneText(lost)).toContain("1 of 2 requests were lost");
  });

  it("writes one HTML page with tables and plots", () => {
    const html = demoHtml([outcome], "seed 7");
    expect(html).toContain("Thin uplink, raw frames");
    expect(html.match(/<svg/g)?.length).toBeGreaterThanOrEqual(2);
    expect(html).not.toContain("NaN");
  });
});
