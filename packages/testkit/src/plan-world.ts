import type {
  CodingProfile,
  Cut,
  CutProfile,
  ModelDescription,
  Profile,
  Random,
  Step,
} from "@longshore/core";
import { type ModelTable, modelTable } from "@longshore/core/internal";

/** A seeded world for planners: an OCR-like pipeline, endpoints that offer parts of it, and requests. Figures are made up. */
export interface PlanWorld {
  readonly description: ModelDescription;
  readonly profile: Profile;
  readonly table: ModelTable;
}

const digest = `sha256:${"a".repeat(64)}`;

/** The differences between worlds. */
export interface PlanWorldOptions {
  /** A step whose output the operator declassified to `public`. */
  readonly declassifies?: boolean;
  /** Also a carried state. */
  readonly sequence?: boolean;
  /** Every variant may run on every tier; otherwise the better one is not for devices. Default false. */
  readonly anyTier?: boolean;
  /** One run in sixteen of a codec takes six times as long. Default false. */
  readonly codecSpread?: boolean;
}

const steps: readonly Step[] = [
  { id: "decode", run: { transform: "decode-image", parameters: null }, inputs: { bytes: "image" } },
  {
    id: "normalise",
    run: { transform: "normalise-image", parameters: null },
    inputs: { image: "decode.image" },
  },
  { id: "detect", run: { model: "ocr-detect" }, inputs: { x: "normalise.tensor" } },
  {
    id: "lines",
    run: { transform: "crop-image", parameters: null },
    inputs: { image: "decode.image", boxes: "detect.map" },
  },
  {
    id: "recognise",
    run: { model: "ocr-recognise" },
    forEach: "lines.crops",
    inputs: { x: "lines.crops" },
  },
  { id: "read", run: { transform: "ctc-decode", parameters: null }, inputs: { logits: "recognise.logits" } },
];

/** An OCR-like model of two variants, seven cuts and about three codings a cut, with seeded times and sizes. */
export function planWorld(random: Random, options: PlanWorldOptions = {}): PlanWorld {
  const around = (value: number): number => value * (0.5 + random.next());
  const body = {
    kind: "pipeline",
    steps: options.declassifies
      ? steps.map((step) => (step.id === "recognise" ? { ...step, declassifiesTo: "public" } : step))
      : steps,
    outputs: { text: "read.text" },
  } as const;
  const description: ModelDescription = {
    name: "ocr",
    version: "1",
    digest,
    inputs: [{ name: "image", datatype: "BYTES", shape: [1], media: "image" }],
    outputs: [{ name: "text", datatype: "BYTES", shape: [-1] }],
    variants: [
      { name: "640", body, agreementRatio: 1, accuracyRatio: 0.9, memoryBytes: 60e6 },
      {
        name: "960",
        body,
        agreementRatio: 0.93,
        accuracyRatio: 0.95,
        ...(options.anyTier ? {} : { tiers: ["edge", "cloud"] as const }),
      },
    ],
    batching: { maxBatchSize: 0 },
    instances: [{ count: 1 }],
    labels: {},
    trusted: true,
    dataClass: "internal",
    ...(options.sequence
      ? {
          sequence: {
            maxIdleMs: 1000,
            states: [{ input: "s", output: "sN", datatype: "FP32" as const, shape: [2, 1, 128] }],
          },
        }
      : {}),
  };
  const spread = (mean: number): number[] =>
    Array.from({ length: 16 }, (_, index) => mean * (0.8 + 0.4 * ((index + 0.5) / 16) ** 2));
  const codecTimes = (
    encodeMs: number,
    decodeMs: number,
  ): Pick<CodingProfile, "encodeMs" | "decodeMs" | "encodeSpreadMs" | "decodeSpreadMs"> => {
    if (options.codecSpread !== true || encodeMs === 0) return { encodeMs, decodeMs };
    const now = (ms: number): number[] => spread(ms).with(15, 6 * ms);
    return { encodeMs, decodeMs, encodeSpreadMs: now(encodeMs), decodeSpreadMs: now(decodeMs) };
  };
  const cutsOf = (pixels: number, items: number): CutProfile[] => {
    const total = around(pixels / 4000) + items * around(18);
    const ids = ["start", "normalise", "detect.c10", "detect", "lines", "recognise", "end"];
    const shares = [0, 0.03, 0.3, 0.45, 0.47, 0.98, 1];
    const sizes = [
      around(90e3),
      pixels * 12,
      around(pixels),
      around(pixels * 4),
      items * around(14e3),
      items * 60e3,
      300,
    ];
    return ids.map((id, position) => {
      const cut: Cut = {
        id,
        reveals: id === "start" ? "input" : id === "end" ? "answer" : "features",
        crossing: [
          id === "lines"
            ? { name: "lines.crops", datatype: "UINT8", shape: [-1, -1, -1, 3], ragged: true }
            : id === "start"
              ? { name: "image", datatype: "BYTES", shape: [1] }
              : id === "end"
                ? { name: "text", datatype: "BYTES", shape: [-1] }
                : id === "detect.c10"
                  ? { name: "detect:conv_10", datatype: "FP32", shape: [-1, -1, -1, -1] }
                  : {
                      name: `${id}.${id === "recognise" ? "logits" : id === "detect" ? "map" : "tensor"}`,
                      datatype: "FP32",
                      shape: [-1, -1, -1, -1],
                    },
        ],
      };
      const bytes = sizes[position] ?? 0;
      const name = cut.crossing[0]?.name ?? "";
      const coding = (codec: string, ratio: number, agreement: number): CodingProfile => ({
        codecs: codec === "raw" ? {} : { [name]: codec },
        bytes: bytes * ratio,
        ...codecTimes(codec === "raw" ? 0 : around(bytes / 4e5), codec === "raw" ? 0 : around(bytes / 8e5)),
        agreementRatio: agreement,
        lossless: agreement === 1,
      });
      const codings = [coding("raw", 1, 1)];
      if (id === "normalise" || id === "lines") {
        codings.push(coding("uint8", 0.25, 0.999), coding("jpeg-85", 0.03, 0.997));
      } else if (id !== "start" && id !== "end") {
        codings.push(coding("fp16", 0.5, 0.9995), coding("int8", 0.25, 0.99));
      }
      const share = shares[position] ?? 0;
      return {
        cut,
        headMs: id === "start" ? [0] : spread(total * share),
        tailMs: id === "end" ? [0] : spread(total * (1 - share)),
        headMemoryBytes: 30e6 + 100e6 * share,
        codings,
      };
    });
  };
  const profile: Profile = {
    schemaVersion: 1,
    model: "ocr",
    version: "1",
    digest,
    measuredOn: { runtime: "made up", threads: 1, description: "seeded" },
    variants: [
      { name: "640", pixels: 640 * 640 },
      { name: "960", pixels: 960 * 960 },
    ].map(({ name, pixels }) => ({
      variant: name,
      agreementRatio: 1,
      buckets: [4, 20, 80].map((items) => ({
        upTo: { bytes: 5e6, items },
        typical: { bytes: 90e3, items: items / 2 },
        runs: 7,
        cuts: cutsOf(pixels, items / 2),
        legalCuts: 300,
      })),
    })),
  };
  return { description, profile, table: modelTable(description, profile) };
}
