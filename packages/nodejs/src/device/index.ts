export type { BatteryState } from "./battery.ts";
export { type DeviceMonitor, deviceMonitor, type DeviceMonitorOptions } from "./device-monitor.ts";
export { type DeviceFacts, deviceFacts, type Memory, memoryMeter } from "./device-facts.ts";
export * from "./energy-counter.ts";
export { type CoreTimes, type LoadMeter, loadMeter, type LoadReading } from "./load-meter.ts";
export { linkHint, type NetworkFolders } from "./network.ts";
export * from "./software-adapter.ts";
export * from "./system-clock.ts";
export * from "./system-random.ts";
