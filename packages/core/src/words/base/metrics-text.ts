/** One sample of a metric. */
export interface Sample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

/** Lines beyond this are not read: a server of a few hundred models has some thousands. */
const maxLines = 100_000;
const line = /^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})?[ \t]+([^ \t]+)/;
const label = /([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"/g;

function labelsOf(text: string | undefined): ReadonlyMap<string, string> {
  const labels = new Map<string, string>();
  for (const [, name = "", value = ""] of text?.matchAll(label) ?? []) {
    labels.set(
      name,
      value.replace(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped)),
    );
  }
  return labels;
}

/**
 * The samples of some metrics in Prometheus' text form, or OpenMetrics', in their order. Lines that cannot be read are left
 * out: a server's metrics are advice, and other metrics than ours may be in any form.
 */
export function* samplesOf(text: string, wanted: ReadonlySet<string>): Iterable<Sample> {
  let from = 0;
  for (let count = 0; count < maxLines && from < text.length; count++) {
    const end = text.indexOf("\n", from);
    const one = text.slice(from, end < 0 ? undefined : end);
    from = end < 0 ? text.length : end + 1;
    const [, name = "", labels, number = ""] = line.exec(one) ?? [];
    if (!wanted.has(name)) continue;
    const value = Number(number);
    if (Number.isFinite(value)) yield { name, labels: labelsOf(labels), value };
  }
}
