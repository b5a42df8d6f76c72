import { LongshoreError } from "@longshore/core";

const modelName = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const versionName = /^[1-9][0-9]{0,17}$/;
const fileName = /^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}$/;

/** Refuses what is no name of a model, so that no request can name a path. */
export function checkModelName(name: string): void {
  if (!modelName.test(name)) throw new LongshoreError("unknown-model", "resolve", notModelName(name));
}

/** Says so of a name that no model can have. */
export function notModelName(name: string): string {
  return `${JSON.stringify(name.slice(0, 128))} is not a model name: 1 to 128 letters, digits, ".", "_" and "-", not beginning with "." or "-"`;
}

/** Tells whether a folder in the repository can be a model. */
export function isModelName(name: string): boolean {
  return modelName.test(name);
}

/** Tells whether a folder in a model is a version: digits, no leading zero. */
export function isVersionName(name: string): boolean {
  return versionName.test(name);
}

/** Refuses a file name from a configuration that could leave the model's folder. Folders inside it are allowed. */
export function isFileName(path: string): boolean {
  const parts = path.split("/");
  return parts.length <= 4 && parts.every((part) => fileName.test(part));
}

/** Order of versions: by number. */
export function compareVersions(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** A few names for a message, in order, with the number of those left out. */
export function someNames(names: readonly string[], most = 20): string {
  if (names.length === 0) return "none";
  const rest = names.length - most;
  return names.slice(0, most).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

/** `invalid-configuration` with the model, the file, the path in it, and the problem. */
export function badConfiguration(
  model: string,
  file: string,
  path: string,
  problem: string,
  cause?: unknown,
): LongshoreError {
  const place = path === "" ? "" : `${path} `;
  return new LongshoreError(
    "invalid-configuration",
    "resolve",
    `model ${model}, ${file}: ${place}${problem}`,
    {
      cause,
    },
  );
}
