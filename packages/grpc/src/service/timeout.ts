import { LongshoreError } from "@longshore/core";

const units: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** The time that `grpc-timeout` leaves, in milliseconds; Infinity without one. Throws `invalid-input`. */
export function grpcTimeoutMs(value: string | undefined): number {
  if (value === undefined) return Infinity;
  const [, digits, unit = ""] = /^([0-9]{1,8})([HMSmun])$/.exec(value) ?? [];
  if (digits === undefined) {
    throw new LongshoreError("invalid-input", "admission", "grpc-timeout must be up to 8 digits and a unit");
  }
  return Number(digits) * (units[unit] ?? 1);
}
