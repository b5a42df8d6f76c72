import type { Json } from "@longshore/core";
import type { InstanceConfig, VersionPolicy, WarmUpConfig } from "./config.ts";
import { isFileName, isVersionName } from "./names.ts";
import { type Bad, datatypeOfTriton } from "./triton-datatypes.ts";

/** `version_policy` as the schema decodes it. */
export interface TritonVersionPolicy {
  readonly latest?: { readonly num_versions?: number };
  readonly all?: object;
  readonly specific?: { readonly versions?: readonly number[] };
}

/** One entry of `instance_group`. */
export interface TritonInstances {
  readonly count?: number;
  readonly kind?: string;
  readonly gpus?: readonly number[];
  readonly passive?: boolean;
  readonly rate_limiter?: {
    readonly resources?: readonly {
      readonly name?: string;
      readonly global?: boolean;
      readonly count?: number;
    }[];
    readonly priority?: number;
  };
}

/** One entry of `model_warmup`. */
export interface TritonWarmUp {
  readonly name?: string;
  readonly batch_size?: number;
  readonly count?: number;
  readonly inputs?: readonly {
    readonly key?: string;
    readonly value?: {
      readonly data_type?: string;
      readonly dims?: readonly number[];
      readonly zero_data?: boolean;
      readonly random_data?: boolean;
      readonly input_data_file?: string;
    };
  }[];
}

/** One entry of `parameters`. */
export interface TritonParameter {
  readonly key?: string;
  readonly value?: { readonly string_value?: string };
}

/** A policy in the JSON of Triton's. */
export function tritonPolicy(policy: VersionPolicy): { readonly [choice: string]: Json } {
  if (policy.kind === "all") return { all: {} };
  if (policy.kind === "latest") return { latest: { num_versions: policy.count } };
  return { specific: { versions: policy.versions.map(Number) } };
}

/** Which versions are served; Triton's default is the latest one. */
export function policyOf(policy: TritonVersionPolicy | undefined, bad: Bad): VersionPolicy {
  if (policy && Object.keys(policy).length > 1)
    throw bad("version_policy", "has several choices; one is possible");
  if (policy?.all) return { kind: "all" };
  if (policy?.specific) return { kind: "specific", versions: (policy.specific.versions ?? []).map(String) };
  const count = policy?.latest?.num_versions ?? 1;
  if (count < 0) throw bad("version_policy latest num_versions", `is ${count}; 1 or more is allowed`);
  return { kind: "latest", count: Math.max(1, count) };
}

const kinds: Readonly<Record<string, InstanceConfig["kind"]>> = {
  KIND_AUTO: "any",
  KIND_MODEL: "any",
  KIND_CPU: "cpu",
  KIND_GPU: "gpu",
};

/** Loaded copies, and what each needs of shared resources while it runs. Passive ones are not run. */
export function instancesOf(groups: readonly TritonInstances[], bad: Bad): readonly InstanceConfig[] {
  return groups
    .filter(({ passive }) => passive !== true)
    .map(({ count = 1, kind: word = "KIND_AUTO", rate_limiter: limiter }) => {
      if (count < 1 || count > 64) throw bad("instance_group count", `is ${count}; 1 to 64 is allowed`);
      const kind = Object.hasOwn(kinds, word) ? kinds[word] : undefined;
      if (!kind) throw bad("instance_group kind", `is ${word}; expected ${Object.keys(kinds).join(", ")}`);
      const resources = (limiter?.resources ?? []).map(({ name = "", count: needed = 0 }) => {
        if (name === "") throw bad("rate_limiter resource", "has no name");
        if (needed < 0)
          throw bad(`rate_limiter resource ${name} count`, `is ${needed}; 0 or more is allowed`);
        return { name, count: needed };
      });
      const priority = limiter?.priority ?? 1;
      if (priority < 0)
        throw bad("rate_limiter priority", `is ${priority}; 1 (the most urgent) or more is allowed`);
      return { count, kind, resources, priority: Math.max(1, priority) };
    });
}

/** Runs before a version is served. */
export function warmUpsOf(
  samples: readonly TritonWarmUp[],
  batched: boolean,
  bad: Bad,
): readonly WarmUpConfig[] {
  return samples.map(({ name = "", batch_size: rows = 0, count = 1, inputs = [] }) => {
    const path = `model_warmup ${JSON.stringify(name)}`;
    if (rows < 0 || rows > 4096) throw bad(`${path} batch_size`, `is ${rows}; 0 to 4096 is allowed`);
    if (count < 0 || count > 1000) throw bad(`${path} count`, `is ${count}; 0 to 1000 is allowed`);
    return {
      name,
      count: Math.max(1, count),
      inputs: inputs.map(({ key = "", value = {} }) => {
        const place = `${path} inputs ${JSON.stringify(key)}`;
        const dims = value.dims ?? [];
        if (dims.some((size) => size < 0))
          throw bad(`${place} dims`, `are [${dims.join(", ")}]; 0 or more is allowed`);
        const choices = [value.zero_data, value.random_data, value.input_data_file].filter(
          (choice) => choice !== undefined,
        );
        if (choices.length > 1) throw bad(place, "has several kinds of data; one is possible");
        const file = value.input_data_file;
        if (file !== undefined && !isFileName(file)) {
          throw bad(`${place} input_data_file`, "must be a file in the model's warmup folder");
        }
        return {
          input: key,
          datatype: datatypeOfTriton(value.data_type, place, bad),
          shape: batched ? [Math.max(1, rows), ...dims] : dims,
          fill: file !== undefined ? "file" : value.random_data ? "random" : "zeros",
          ...(file === undefined ? {} : { file: `warmup/${file}` }),
        } as const;
      }),
    };
  });
}

const labelPrefix = "version_label.";

/** Labels of versions: Triton has none, so they are parameters of the model, `version_label.<label>` to the version. */
export function versionLabelsOf(
  parameters: readonly TritonParameter[],
  bad: Bad,
): Readonly<Record<string, string>> {
  const labels: [string, string][] = [];
  for (const { key = "", value } of parameters) {
    if (!key.startsWith(labelPrefix)) continue;
    const label = key.slice(labelPrefix.length);
    const version = value?.string_value ?? "";
    if (!/^[A-Za-z][A-Za-z0-9._-]{0,63}$/.test(label) || !isVersionName(version)) {
      throw bad(
        `parameters ${key}`,
        `is ${JSON.stringify(version)}; a label is a word and stands for a version`,
      );
    }
    labels.push([label, version]);
  }
  return Object.fromEntries(labels);
}

/** Whether a parameter of the model says yes. */
export function flagOf(parameters: readonly TritonParameter[], name: string, bad: Bad): boolean {
  const written = parameters.find(({ key }) => key === name)?.value?.string_value;
  if (written === undefined || written === "false") return false;
  if (written === "true") return true;
  throw bad(`parameters ${name}`, `is ${JSON.stringify(written)}; "true" or "false" is expected`);
}
