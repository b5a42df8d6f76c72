import {
  bytesElements,
  type DirectoryAge,
  type Json,
  type LostCandidate,
  numbersOf,
  type Plan,
  type Result,
  type Tensor,
  textElements,
} from "@longshore/core";
import { meanOf, quantileOf } from "@longshore/core/internal";
import { byteCount, milliseconds, table } from "../options/io.ts";

/** How many values of an output are shown to a person. */
const shownValues = 8;

/** A tensor as JSON: datatype, shape and values (text for BYTES that are UTF-8, numbers for the rest). */
export function tensorJson(tensor: Tensor): Json {
  const { datatype, shape } = tensor.spec;
  const rows = tensor.rows ? { rows: [...tensor.rows] } : {};
  if (datatype === "BYTES") return { datatype, shape: [...shape], data: [...textElements(tensor)], ...rows };
  const values = Array.from(numbersOf(tensor), (value) =>
    typeof value === "bigint"
      ? Number.isSafeInteger(Number(value))
        ? Number(value)
        : String(value)
      : Number.isFinite(value)
        ? value
        : String(value),
  );
  return { datatype, shape: [...shape], data: values, ...rows };
}

/** One line for people: `scores: FP32 [1, 5]  0.91 0.05 ...`. */
export function tensorLine(name: string, tensor: Tensor): string {
  const { datatype, shape } = tensor.spec;
  const head = `${name}: ${datatype} [${shape.join(", ")}]`;
  if (datatype === "BYTES") {
    const isText = bytesElements(tensor).every((element) => element.every((byte) => byte >= 9));
    const parts = isText
      ? textElements(tensor)
      : bytesElements(tensor).map((element) => byteCount(element.byteLength));
    return parts.length > 1
      ? `${head}\n${parts.map((part) => `  ${part}`).join("\n")}`
      : `${head}  ${parts.join("")}`;
  }
  const values = numbersOf(tensor);
  const shown = Array.from({ length: Math.min(shownValues, values.length) }, (_, index) => {
    const value = values[index] ?? 0;
    return typeof value === "bigint" ? String(value) : String(Number(value.toPrecision(5)));
  });
  return `${head}  ${shown.join(" ")}${values.length > shownValues ? " ..." : ""}`;
}

/** Where the legs of a plan run, in one line: `start..crop on device, then crop..end of int8 on edge (jpeg-85)`. */
export function legsLine(plan: Plan): string {
  return plan.legs
    .map((leg) => {
      const codecs = [...new Set(Object.values(leg.codecs))];
      const trigger =
        leg.starts
          .map((start) => (start.on === "begin" || start.on === "done" ? "" : `if ${start.on}: `))
          .find((word) => word !== "") ?? "";
      const { from, to, variant } = leg.segment;
      const of = variant === "" || variant === "default" ? "" : ` of ${variant}`;
      return `${trigger}${from}..${to}${of} on ${leg.endpoint}${codecs.length > 0 ? ` (${codecs.join(", ")})` : ""}`;
    })
    .join(", then ");
}

/**
 * How old the knowledge of endpoints is: `in touch`, or `as of 95 s ago: file endpoints.yaml cannot be read`; and what of it is not
 * believed: `in touch; 2 entries are not believed, such as till-4: it is not signed by one of the operator's keys`.
 */
export function directoryLine({ ageMs, problem, refused }: DirectoryAge): string {
  const age = Number.isFinite(ageMs) ? `as of ${milliseconds(ageMs)} ago` : "never read";
  const touch = problem === undefined ? "in touch" : `${age}: ${problem}`;
  if (!refused) return touch;
  const { count, because } = refused;
  const which = count === 1 ? "1 entry is not believed," : `${count} entries are not believed, such as`;
  return `${touch}; ${which} ${because}`;
}

function microgramsText(micrograms: number): string {
  return `${Number(micrograms.toPrecision(3))} µg of CO2`;
}

/** A plan as text for people. */
export function planText(plan: Plan, explain: boolean): string {
  const { predicted } = plan;
  const lines = [
    `where     ${legsLine(plan)}`,
    `because   ${plan.because}`,
    `predicted ${milliseconds(meanOf(predicted.completionMs))}${predicted.completionMs.origin === "prior" ? ", assumed" : ""} (half by ${milliseconds(quantileOf(predicted.completionMs, 0.5))}, 95 % by ${milliseconds(quantileOf(predicted.completionMs, 0.95))}), ${byteCount(predicted.sentBytes)} sent, ${(predicted.deviceMillijoules / 1000).toFixed(3)} J here (estimated)${predicted.carbonMicrograms === undefined ? "" : `, ${microgramsText(predicted.carbonMicrograms)}`}, agreement ${predicted.agreementRatio.toFixed(4)}`,
  ];
  if (plan.directory) lines.push(`directory ${directoryLine(plan.directory)}`);
  if (explain)
    lines.push("", `${plan.candidates} candidates; those that lost, and why:`, lostTable(plan.lost));
  return lines.join("\n");
}

/** The candidates that lost and why, as a table. */
export function lostTable(lost: readonly LostCandidate[]): string {
  return table(
    ["endpoint", "variant", "cut", "codecs", "like it", "why"],
    lost.map((line) => [
      line.endpoint,
      line.variant,
      line.cut,
      [...new Set(Object.values(line.codecs))].join(" ") || "raw",
      String(line.count),
      lossText(line.why),
    ]),
  );
}

function lossText(why: LostCandidate["why"]): string {
  if (why.kind === "filter") return `${why.filter}: ${why.detail}`;
  const best = why.bestScore.toPrecision(4);
  return why.score > why.bestScore
    ? `scored ${why.score.toPrecision(4)}, the best ${best}`
    : `no better than the best, ${best}`;
}

/** The account of a result, for people. */
export function accountText(result: Omit<Result, "outputs">): string {
  const stages = result.accounts.flatMap((account) =>
    account.stages
      .filter((stage) => stage.tookMs >= 0.05)
      .map((stage) => [account.endpoint, stage.stage, stage.name, milliseconds(stage.tookMs)]),
  );
  return [
    // A later plan goes on where an earlier one got to, or stands in for it.
    ...result.plans.map((plan, at) => `${at === 0 ? "where    " : "then     "} ${legsLine(plan)}`),
    `answered  by ${result.where} in ${milliseconds(result.tookMs)} (predicted ${milliseconds(result.predictedMs)}${result.predictedLabel === "assumed" ? ", assumed" : ""})`,
    `because   ${result.because}`,
    `network   ${byteCount(result.sentBytes)} sent, ${byteCount(result.receivedBytes)} received`,
    `energy    ${(result.energy.millijoules / 1000).toFixed(3)} J here (${result.energy.label})`,
    ...(result.carbonMicrograms === undefined
      ? []
      : [`carbon    ${microgramsText(result.carbonMicrograms)} of all endpoints (estimated)`]),
    ...result.lostLegs.map((leg) => `lost      ${leg.leg} on ${leg.endpoint}: ${leg.why}`),
    "",
    table(["endpoint", "stage", "what", "took"], stages),
  ].join("\n");
}
