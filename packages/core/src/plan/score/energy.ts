/** Energy drawn from this device, in millijoules; a second later weighs as much as a microjoule more. */
export function energyScore(deviceMillijoules: number, latencyMs: number): number {
  return deviceMillijoules + latencyMs * 1e-6;
}
