import { endCut, type Profile, textElements } from "@longshore/core";
import { type FixedPlan, planName, wholeSegment } from "@longshore/lab";
import { ocrAccuracy } from "@longshore/samples";
import { answerAgreement, platformCodecs } from "longshore/measure";
import type { Row } from "./harness.ts";
import { type SceneModels, worthBytesRatio } from "./scene-models.ts";
import { runPlan, runWhole } from "./scene-runs.ts";

/** Lossy plans must agree with the run in one piece by this much. */
const leastAgreement = 0.995;

/** Plans to check: those that scenes chose, and one for each codec that none of them used. */
export function plansToCheck(
  chosen: ReadonlyMap<string, readonly FixedPlan[]>,
  profiles: ReadonlyMap<string, Profile>,
): readonly { readonly model: string; readonly plan: FixedPlan; readonly chosen: boolean }[] {
  const plans = [...chosen].flatMap(([model, list]) => list.map((plan) => ({ model, plan, chosen: true })));
  const used = new Set(plans.flatMap(({ plan }) => Object.values(plan.codecs)));
  const more: { model: string; plan: FixedPlan; chosen: boolean }[] = [];
  for (const codec of platformCodecs().keys()) {
    if (used.has(codec) || codec === "raw") continue;
    const found = [...profiles].flatMap(([model, profile]) =>
      profile.variants.slice(0, 1).flatMap(({ variant, buckets }) =>
        (buckets[0]?.cuts ?? []).flatMap(({ cut, codings }) =>
          codings
            .filter((one) => Object.values(one.codecs).includes(codec) && cut.id !== endCut)
            // The others were not compared on all inputs: nobody would use them.
            .filter((one) => one.bytes <= worthBytesRatio * (codings[0]?.bytes ?? 0))
            .map(({ codecs, agreementRatio }) => ({
              agreementRatio,
              candidate: { model, plan: { variant, cut: cut.id, endpoint: "any", codecs }, chosen: false },
            })),
        ),
      ),
    );
    const best = found.toSorted((a, b) => b.agreementRatio - a.agreementRatio)[0];
    if (best && best.agreementRatio >= leastAgreement) more.push(best.candidate);
  }
  return [...plans, ...more];
}

/** Runs each plan on the real engine, codecs included, and compares with the run in one piece and with the truth. */
export async function checkAnswers(
  { engine, models }: SceneModels,
  plans: ReturnType<typeof plansToCheck>,
): Promise<{ readonly rows: readonly Row[]; readonly wrong: number }> {
  const rows: Row[] = [];
  let wrong = 0;
  for (const { model, plan, chosen } of plans) {
    const measured = models.get(model);
    if (!measured) continue;
    const whole = wholeSegment(measured.simulated.description, plan.variant);
    let lossless = true;
    const agreements: number[] = [];
    for (const [index, inputs] of measured.checks.entries()) {
      const alone = await runWhole(engine, whole, inputs);
      const { outputs, lossy } = await runPlan(engine, whole, plan, inputs);
      lossless &&= !lossy;
      const agreement = answerAgreement(outputs, alone);
      agreements.push(agreement);
      const file = measured.files[index];
      const text = outputs.get("text");
      const truth = file?.truth.lines;
      const accuracy = truth && text ? ocrAccuracy(truth, textElements(text)) : null;
      const accuracyAlone =
        truth && alone.get("text") ? ocrAccuracy(truth, textElements(alone.get("text") ?? missing())) : null;
      rows.push({
        kind: "answer",
        model,
        plan: planName(plan),
        chosen,
        file: file?.file ?? "",
        lossless,
        agreement,
        accuracy,
        accuracyAlone,
      });
    }
    const mean = agreements.reduce((sum, one) => sum + one, 0) / Math.max(1, agreements.length);
    if (mean < (lossless ? 1 : leastAgreement)) wrong += 1;
  }
  return { rows, wrong };
}

function missing(): never {
  throw new Error("the output was there a moment ago");
}
