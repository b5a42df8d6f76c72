import { isMainThread } from "node:worker_threads";

/** Environment variable that ONNX Runtime reads when its native library starts. */
export const telemetryVariable = "ORT_DISABLE_TELEMETRY";

/** Value of the variable for new processes: the operator's own, otherwise `1`. */
export function telemetrySetting(): string {
  // The runtime reads an empty value as "not set".
  return process.env[telemetryVariable] || "1";
}

/**
 * Turns off the telemetry of ONNX Runtime's native build for this process. The build reports to its maker by default: it
 * writes a lasting device ID and a store of events to the user's cache folder, and sends the events every few seconds.
 * A value that the operator has set stays, also `0`, which keeps telemetry on.
 *
 * The native library reads the environment of the process. Only the main thread can change that: `process.env` of a worker
 * thread is a copy. In a worker thread this function therefore does nothing, and `requireTelemetryOff` checks.
 */
export function disableTelemetry(): void {
  if (isMainThread) process.env[telemetryVariable] = telemetrySetting();
}

/**
 * Call this before the native library loads. It turns telemetry off in the main thread. A worker thread has its copy of the
 * environment from the thread that started it. Throws if the variable is missing there; the runner makes `unsupported` of that.
 */
export function requireTelemetryOff(): void {
  disableTelemetry();
  if (process.env[telemetryVariable]) return;
  throw new Error(
    `a worker thread cannot turn off the telemetry of ONNX Runtime; start the program with ${telemetryVariable}=1, ` +
      "or create a runtime in the main thread before the worker thread starts",
  );
}
