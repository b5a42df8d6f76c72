/** Names of settings whose values are secrets, whatever they look like. */
const secretNames =
  /(^|[-_.])(pass(word|wd|phrase)?|secret|token|bearer|credentials?|authorization|cookie|pepper|private[-_]?key|api[-_]?key|state[-_]?key|key)$|[a-z](Password|Secret|Token|Bearer|Credential|Pepper|Key)$/i;

/** Texts that are secrets wherever they stand, with what replaces them. */
const secretTexts: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, "***"],
  // Keys of this server, tokens in JWS form, bearer credentials, passwords in addresses.
  [/lsk_[0-9a-f]{16}_[A-Za-z0-9_-]+/g, "***"],
  [/eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g, "***"],
  [/\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}/gi, "$1 ***"],
  [/([a-z][a-z0-9+.-]*:\/\/)[^/@\s"']+@/gi, "$1***@"],
  [/([?&](?:[a-z_-]*(?:token|key|secret|password|signature|sig))=)[^&\s"']+/gi, "$1***"],
];

/** A text without what looks like a secret. */
export function withoutSecretTexts(text: string): string {
  return secretTexts.reduce((clean, [pattern, instead]) => clean.replace(pattern, instead), text);
}

/** Whether a setting of this name holds a file with the secret rather than the secret: its path may be told. */
const looksLikePath = (value: string): boolean => /^[./~]|\.[a-z0-9]{2,6}$|^[\w.-]+\/[\w./-]+$/i.test(value);

/** A value without secrets: those of settings that are named as such, and texts that look like them, at any depth. */
export function withoutSecrets(value: unknown, name = ""): unknown {
  if (typeof value === "string") {
    const clean = withoutSecretTexts(value);
    return secretNames.test(name) && !looksLikePath(value) ? "***" : clean;
  }
  if (Array.isArray(value)) return value.map((one: unknown) => withoutSecrets(one, name));
  if (typeof value !== "object" || value === null) {
    return secretNames.test(name) && typeof value === "number" ? "***" : value;
  }
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutSecrets(inner, key)]));
}

/** The lines of a text of settings (YAML, environment, logs) without secrets. */
export function linesWithoutSecrets(text: string): string {
  return withoutSecretTexts(text)
    .split("\n")
    .map((line) => {
      const [, before, name, between, value] =
        /^(\s*(?:-\s+)?(?:export\s+)?)["']?([\w.-]+)["']?(\s*[:=]\s*)(\S.*)$/.exec(line) ?? [];
      if (name === undefined || value === undefined) return line;
      if (value.startsWith("{") || value.startsWith("["))
        return line.replace(inline, (whole, key: string, mark: string, inner: string) =>
          secretNames.test(key) && !looksLikePath(inner.trim()) ? `${key}${mark}***` : whole,
        );
      return secretNames.test(name) && !looksLikePath(value.replace(/["']/g, ""))
        ? `${before ?? ""}${name}${between ?? ""}***`
        : line;
    })
    .join("\n");
}

/** A pair inside `{ a: b, c: d }`. */
const inline = /["']?([\w.-]+)["']?(\s*:\s*)["']?([^,{}[\]"']+)["']?/g;
