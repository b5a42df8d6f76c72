import type { MeasuredSample } from "../measure-samples.ts";

/** A sample model, and what its device is like. */
export interface RealitySubject extends MeasuredSample {
  /**
   * Mean time of a run on the device, in milliseconds, however quick this machine is measured to be: half of the time between requests at
   * the most, since on a device that can hardly keep up one late answer decides about all that follow.
   */
  readonly deviceMs: number;
  /** Mean time between requests. */
  readonly gapMs: number;
  /** A plan that never changes, replayed beside the offloader: it tells what the network does from what decisions do. */
  readonly control: string;
  readonly links: number;
  /** Seeds that each link is replayed with: the offloader's decisions depend on a few early random events. */
  readonly seeds: number;
  /** Links, seeds and ways of deciding that are replayed at once: as many as this machine has time for. */
  readonly atOnce: number;
}

/** The models of the replays: one of some milliseconds that can be cut inside, and a pipeline of some hundreds on images. */
export const realitySubjects: readonly RealitySubject[] = [
  {
    model: "anomaly",
    file: "sensor/healthy-1.npy",
    deviceMs: 300,
    gapMs: 600,
    control: "cut c3, then cloud int8",
    links: 4,
    seeds: 4,
    atOnce: 8,
  },
  {
    model: "ocr-frame",
    file: "images/receipt-1.jpg",
    // A run takes most of a second: every codec at six cuts would take minutes.
    effort: { rounds: 3, maxCuts: 3, everyCodec: false },
    deviceMs: 1250,
    gapMs: 2500,
    control: "cloud jpeg-85 (640)",
    links: 2,
    seeds: 1,
    // Two replays would wait for each other's runs at the server.
    atOnce: 1,
  },
];
