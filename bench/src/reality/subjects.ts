import type { MeasuredSample } from "../measure-samples.ts";

/** A sample model, and how much slower than this machine its device is. */
export interface RealitySubject extends MeasuredSample {
  readonly slowness: number;
  /** Mean time between requests. */
  readonly gapMs: number;
  /** A plan that never changes, replayed beside the offloader: it tells what the network does from what decisions do. */
  readonly control: string;
  readonly links: number;
  /** Links and ways of deciding that are replayed at once: as many as this machine has time for. */
  readonly atOnce: number;
}

/** What is replayed: a model of some milliseconds that can be cut inside, and a pipeline of some hundreds on images. */
export const realitySubjects: readonly RealitySubject[] = [
  {
    model: "anomaly",
    file: "sensor/healthy-1.npy",
    slowness: 60,
    gapMs: 600,
    control: "cut c3, then cloud int8",
    links: 4,
    atOnce: 8,
  },
  {
    model: "ocr-frame",
    file: "images/receipt-1.jpg",
    slowness: 3,
    gapMs: 2500,
    control: "cloud jpeg-85 (640)",
    links: 2,
    // Two replays would wait for each other's runs at the server.
    atOnce: 1,
  },
];
