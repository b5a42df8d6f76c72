/** A value as YAML, in blocks: keys that need no quotes, texts in double quotes. */
export function yamlText(value: unknown, indent = ""): string {
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]\n";
    return value.map((one) => `${indent}- ${nested(one, `${indent}  `).trimStart()}`).join("");
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, one]) => one !== undefined);
    if (entries.length === 0) return "{}\n";
    return entries
      .map(
        ([key, one]) => `${indent}${keyText(key)}:${inline(one) ? " " : "\n"}${nested(one, `${indent}  `)}`,
      )
      .join("");
  }
  return `${JSON.stringify(value)}\n`;
}

function inline(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return true;
  return Array.isArray(value) ? value.length === 0 : Object.keys(value).length === 0;
}

function nested(value: unknown, indent: string): string {
  return inline(value) ? yamlText(value).trimStart() : yamlText(value, indent);
}

function keyText(key: string): string {
  return /^[A-Za-z_][A-Za-z0-9_.-]*$/.test(key) ? key : JSON.stringify(key);
}
