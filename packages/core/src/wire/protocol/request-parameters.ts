import { type Call, ownCall } from "../../words/base/index.ts";
import type { Parameters } from "../../words/json/index.ts";
import { binaryOutputsParameter } from "./names.ts";
import { flagParameter } from "./parameters.ts";
import { own, refuseField } from "./read-json.ts";

/**
 * The meaning of an inference request's parameters beside its tensors: Triton's schedule policy, and all parameters that the
 * protocol gives no meaning to, which go to the steps of the model (Triton's parameters extension).
 */

/** Parameters with a meaning, and prefixes of such; all others are the model's. */
const reserved: ReadonlySet<string> = new Set([
  "sequence_id",
  "sequence_start",
  "sequence_end",
  "priority",
  "timeout",
  "headers",
  binaryOutputsParameter,
]);
const reservedBeginnings: readonly string[] = ["triton_", "longshore_"];

/** Whether a stream wants an answer without outputs that says that there are no more. */
export const emptyFinalParameter = "triton_enable_empty_final_response";

/** Refuses what begins as Triton's own parameters do and is none, which it does, too. */
function checkTritonParameters(parameters: Parameters): void {
  for (const key of Object.keys(parameters)) {
    if (key.startsWith("triton_") && key !== emptyFinalParameter) {
      refuseField(
        `parameters.${key.slice(0, 64)}`,
        "named otherwise: names that begin with triton_ are reserved",
      );
    }
  }
  flagParameter(parameters, emptyFinalParameter, "parameters");
}

/** A whole number of 0 or more, also as decimal text: JSON of some languages cannot hold 64 bits. */
function figure(parameters: Parameters, key: string): number | undefined {
  const value = own(parameters, key);
  if (value === undefined) return undefined;
  const digits = typeof value === "bigint" || (typeof value === "string" && /^[0-9]{1,20}$/.test(value));
  const number = digits ? Number(value) : value;
  if (typeof number !== "number" || !(number >= 0) || !Number.isInteger(number)) {
    refuseField(`parameters.${key}`, "a whole number of 0 or more");
  }
  return number;
}

/**
 * The call with the schedule policy of its request: `priority` (0 takes the model's default) and `timeout` in microseconds (0 for none);
 * and whose request it is, `longshore_user`. Refuses reserved names, too.
 */
export function scheduledCall(call: Call, parameters: Parameters): Call {
  checkTritonParameters(parameters);
  const user = own(parameters, "longshore_user");
  if (user !== undefined && (typeof user !== "string" || user.length > 256)) {
    refuseField("parameters.longshore_user", "text of at most 256 characters");
  }
  const priority = figure(parameters, "priority");
  const timeout = figure(parameters, "timeout");
  const scheduled = ownCall(call);
  if (priority) scheduled.priority = priority;
  if (timeout) scheduled.queueTimeoutMs = timeout / 1000;
  if (typeof user === "string" && user !== "") scheduled.user = user;
  return scheduled;
}

/** The schedule policy of a call as parameters. */
export function scheduleParameters({ priority, queueTimeoutMs, user }: Call): Parameters {
  return {
    ...(priority ? { priority } : {}),
    ...(queueTimeoutMs ? { timeout: Math.max(1, Math.round(queueTimeoutMs * 1000)) } : {}),
    ...(user === undefined ? {} : { longshore_user: user }),
  };
}

/** Whether the protocol gives a parameter of this name no meaning. */
export function isCustomParameter(name: string): boolean {
  return !reserved.has(name) && !reservedBeginnings.some((beginning) => name.startsWith(beginning));
}

/** The parameters that the protocol gives no meaning to. */
export function customParameters(parameters: Parameters): Parameters {
  return Object.fromEntries(Object.entries(parameters).filter(([name]) => isCustomParameter(name)));
}
