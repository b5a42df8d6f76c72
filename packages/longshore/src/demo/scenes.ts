import type { DeviceParts, Limits } from "@longshore/core";
import { radios } from "@longshore/core/internal";
import type { Crowd } from "./endpoint-messages.ts";

/** A link of a scene. Its rates come from a seeded generator (`shape`), or from the trace file that the caller names. */
export interface LinkSetting {
  /** `drive` is the shape with seconds-long stalls; `steady` a wire. */
  readonly shape: "steady" | "wifi" | "thin" | "stalling" | "drive3g";
  readonly delayMs: number;
  readonly jitterMs: number;
  /** Times the shape's rate; default 1. */
  readonly factor?: number;
  /** The uplink follows `--trace` when one is given. */
  readonly traced?: boolean;
}

/** Something that happens to the world while the request at `at` is under way, or just before it. */
export interface Happening {
  readonly at: number;
  /** While the request is on its way; otherwise before it starts. */
  readonly during: boolean;
  readonly what: "kill edge" | "cut edge" | "restore edge" | "cut cloud" | "black out cloud";
  readonly words: string;
}

/** One scene of the store. */
export interface Scene {
  readonly name: string;
  readonly title: string;
  /** The situation, for people. */
  readonly story: string;
  readonly model: "ocr" | "ocr-frame" | "anomaly" | "vad";
  /** Sample inputs, taken in turn. */
  readonly files: readonly string[];
  readonly edge?: LinkSetting;
  readonly cloud?: LinkSetting;
  readonly limits?: Limits;
  /** The device takes this many times as long as this machine's WebAssembly runtime; default 1. */
  readonly slowness?: number;
  readonly device?: DeviceParts;
  readonly crowd?: Omit<Crowd, "seed">;
  readonly happenings?: readonly Happening[];
  /** Requests after which nothing new is to be seen; default 6. */
  readonly requests?: number;
  /** All inputs are steps of one sequence. */
  readonly sequence?: boolean;
  /** The figure to compare; default the time. */
  readonly compares?: "time" | "energy" | "accuracy";
}

const wifi: LinkSetting = { shape: "wifi", delayMs: 2, jitterMs: 1 };
const wire: LinkSetting = { shape: "steady", delayMs: 2, jitterMs: 0.5 };
const uplink: LinkSetting = { shape: "steady", factor: 0.16, delayMs: 20, jitterMs: 4 };
const thin: LinkSetting = { shape: "thin", delayMs: 20, jitterMs: 4 };

const tillImages = ["images/receipt-1.jpg", "images/shelf-4.jpg", "images/real-documentation-page.png"];
const frames = ["images/shelf-4.jpg", "images/receipt-1.jpg"];

/** The power that this device draws: a phone-like core. An estimate, like every energy here. */
const handheld: DeviceParts = { activeWatts: 2.5, idleWatts: 0.3, radio: radios.wifi };

const usualRequests = 6;

/** The number of requests of a scene: the one given, else the scene's own. */
export function requestsOf(scene: Scene, asked: number | undefined): number {
  return asked ?? scene.requests ?? usualRequests;
}

/** The scenes, in the order of the story. */
export const scenes: readonly Scene[] = [
  {
    name: "offline",
    title: "No network",
    story: "The till has no network at all. Receipts are read on the till itself.",
    requests: 3,
    model: "ocr",
    files: tillImages,
    edge: wifi,
    cloud: uplink,
    happenings: [
      { at: -1, during: false, what: "cut edge", words: "the network is down" },
      { at: -1, during: false, what: "cut cloud", words: "" },
    ],
  },
  {
    name: "thin-uplink",
    title: "Thin uplink, raw frames",
    story:
      "A shelf camera, with a third of the speed of the other devices here, sees only the cloud, over about 0.4 Mbit/s, and holds raw frames of 3.7 MB. Answers may differ in one character of a hundred.",
    requests: 4,
    model: "ocr-frame",
    files: frames,
    cloud: { ...thin, factor: 0.27 },
    slowness: 3,
    limits: { minAgreementRatio: 0.99 },
  },
  {
    name: "stalls",
    title: "Uplink with stalls",
    story:
      "A mobile till reads receipts over an uplink of 8 Mbit/s on average that stalls for seconds at a time.",
    model: "ocr",
    files: tillImages,
    cloud: { shape: "stalling", delayMs: 25, jitterMs: 8, traced: true },
  },
  {
    name: "wifi",
    title: "Good Wi-Fi to the edge box",
    story: "A till reads receipts with the edge box in the back room next to it, over good Wi-Fi.",
    model: "ocr",
    files: tillImages,
    edge: wifi,
    cloud: uplink,
  },
  {
    name: "busy-edge",
    title: "Edge box busy with forty cameras",
    story:
      "Forty cameras send frames to the edge box. The crowd exists on the clock only: each of its frames holds one of 8 slots for the measured time of a real request.",
    model: "ocr",
    files: tillImages,
    edge: wifi,
    cloud: uplink,
    crowd: { cameras: 40, framesPerSecond: 1, slots: 8 },
  },
  {
    name: "edge-killed",
    title: "Edge box loses power",
    story: "The process of the edge box is killed (kill -9) while a request is on its way to it.",
    requests: 4,
    model: "ocr",
    files: tillImages,
    edge: wifi,
    happenings: [{ at: 1, during: true, what: "kill edge", words: "the edge box is killed while it works" }],
  },
  {
    name: "cloud-cut",
    title: "Link to the cloud goes dead",
    story:
      "There is only the cloud, and its link goes silent while a request is on its way: nothing breaks, nothing answers.",
    requests: 5,
    model: "ocr",
    files: tillImages,
    cloud: uplink,
    happenings: [{ at: 1, during: true, what: "black out cloud", words: "the link goes silent" }],
  },
  {
    name: "private",
    title: "A camera whose images must not leave",
    story:
      "Images of this camera are restricted: neither they nor crops nor activations may leave, though edge and cloud are near.",
    requests: 3,
    model: "ocr",
    files: tillImages,
    edge: wifi,
    cloud: uplink,
    limits: { dataClass: "restricted" },
  },
  {
    name: "accuracy",
    title: "Best accuracy wanted",
    story:
      "An auditor wants the best reading at any cost: the variant for 960 pixels is allowed in the cloud only.",
    requests: 4,
    model: "ocr",
    files: ["images/receipt-3.jpg", "images/receipt-2.jpg"],
    edge: wifi,
    cloud: uplink,
    limits: { objective: "accuracy", minAgreementRatio: 0 },
    compares: "accuracy",
  },
  {
    name: "energy",
    title: "Energy of a handheld",
    story:
      "A handheld scanner wants to save its battery (2.5 W while it computes, Wi-Fi radio by published figures; estimates).",
    model: "ocr",
    files: tillImages,
    edge: wifi,
    limits: { objective: "energy" },
    device: handheld,
    compares: "energy",
  },
  {
    name: "sensor",
    title: "Sensor series with an inner cut",
    story:
      "A sensor gateway with a tenth of the speed of the other devices here judges windows of 524 kB that no media codec fits, over 8 Mbit/s to the edge box. The detector finds nearly every fault and names four in five of them right (samples/README.md).",
    requests: 7,
    model: "anomaly",
    files: ["healthy-1", "spikes", "drift", "stuck", "noise", "resonance", "healthy-2"].map(
      (name) => `sensor/${name}.npy`,
    ),
    edge: { shape: "steady", factor: 0.16, delayMs: 5, jitterMs: 1 },
    slowness: 10,
  },
  {
    name: "voice",
    title: "Speech that changes its endpoint",
    story:
      "A microphone on a battery hears frame by frame with a state that must not be lost; the wire to the edge box breaks at frame 30 and is back at frame 45.",
    model: "vad",
    files: ["audio/goforward.raw"],
    edge: wire,
    sequence: true,
    limits: { objective: "energy" },
    device: { activeWatts: 2.5, radio: radios.wired },
    compares: "energy",
    happenings: [
      { at: 30, during: false, what: "cut edge", words: "the wire breaks" },
      { at: 45, during: false, what: "restore edge", words: "the wire is back" },
    ],
  },
];
