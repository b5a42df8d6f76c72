import * as v from "valibot";
import { datatypes } from "@longshore/core";
import type { InstanceConfig, VersionPolicy, WarmUpConfig } from "./config.ts";
import { providerName } from "../runtime/index.ts";
import { isFileName, isVersionName } from "./names.ts";
import { about, count, strict, word } from "./yaml-parts.ts";

/** Keys of model.yaml that say which versions are served, on what, and what is run before they are. */

const version = v.pipe(
  v.union([v.pipe(v.number(), v.integer()), v.string()]),
  v.transform(String),
  v.check(isVersionName, 'must be a version, such as "1"'),
);

/** The key `versions`. */
export const versions: v.GenericSchema<unknown, VersionPolicy> = v.pipe(
  v.union(
    [
      v.literal("all"),
      strict({ latest: count(1, 1_000_000) }),
      strict({ specific: v.pipe(v.array(version), v.minLength(1), v.maxLength(1000)) }),
    ],
    'must be "all", { latest: n } or { specific: [versions] }',
  ),
  v.transform((written): VersionPolicy => {
    if (written === "all") return { kind: "all" };
    return "latest" in written
      ? { kind: "latest", count: written.latest }
      : { kind: "specific", versions: written.specific };
  }),
);

/** A label is no number, so that it can never hide a version. */
const label = v.pipe(v.string(), v.regex(/^[A-Za-z][A-Za-z0-9._-]{0,63}$/, "must be a word, such as stable"));

/** The key `versionLabels`. */
export const versionLabels: v.GenericSchema<unknown, Record<string, string>> = v.record(label, version);

/** The key `instances`. */
export const instances: v.GenericSchema<unknown, InstanceConfig[]> = v.array(
  v.pipe(
    strict({
      count: about("Number of copies.", count(1, 64)),
      runtime: v.optional(about("Name of a runtime. Default: the server's.", word)),
      kind: v.optional(about("Processor. Default: `any`.", v.picklist(["any", "cpu", "gpu"]))),
      resources: v.optional(
        about(
          "Resources that a run takes, with `--rate-limit`. Default: none.",
          v.array(strict({ name: word, count: count(0, 1_000_000), global: v.optional(v.boolean()) })),
        ),
      ),
      priority: v.optional(
        about("Weight of its turns, with `--rate-limit`. Default: 1.", count(1, 1_000_000)),
      ),
    }),
    v.transform(({ count: copies, runtime, kind, resources, priority }): InstanceConfig => ({
      count: copies,
      kind: kind ?? "any",
      resources: (resources ?? []).map((one) => ({ name: one.name, count: one.count })),
      priority: priority ?? 1,
      ...(runtime === undefined ? {} : { runtime }),
    })),
  ),
);

/** The key `providers`. */
export const providers: v.GenericSchema<unknown, string[]> = v.pipe(
  v.array(
    v.pipe(v.string(), v.regex(providerName, "must be the name of an execution provider, such as cuda")),
  ),
  v.minLength(1),
  v.maxLength(8),
);

/** The key `warmUp`. */
export const warmUpKey: v.GenericSchema<unknown, WarmUpConfig[]> = v.pipe(
  v.array(
    v.pipe(
      strict({
        name: v.optional(word),
        rows: v.optional(about("Adds a batch axis of this size.", count(1, 4096))),
        count: v.optional(about("Number of runs. Default: 1.", count(1, 1000))),
        inputs: v.record(
          word,
          strict({
            datatype: v.picklist(datatypes),
            shape: v.pipe(v.array(count(0, 2 ** 31 - 1)), v.maxLength(16)),
            fill: v.optional(
              about("Content without a file. Default: `zeros`.", v.picklist(["zeros", "random"])),
            ),
            file: v.optional(
              about(
                "File in the model's folder.",
                v.pipe(v.string(), v.check(isFileName, "must be a file in the model's folder")),
              ),
            ),
          }),
        ),
      }),
      v.transform(({ name, rows, count: times, inputs }): WarmUpConfig => ({
        name: name ?? "warm-up",
        count: times ?? 1,
        inputs: Object.entries(inputs).map(([input, { datatype, shape, fill, file }]) => ({
          input,
          datatype,
          shape: rows === undefined ? shape : [rows, ...shape],
          fill: file === undefined ? (fill ?? "zeros") : "file",
          ...(file === undefined ? {} : { file }),
        })),
      })),
    ),
  ),
  v.maxLength(32),
);
