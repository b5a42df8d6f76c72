export { clientWeighted } from "./client-weighted.ts";
export type { FarmBatching } from "./batch-slot.ts";
export { capacityOf, farmEndpoint, type FarmEndpoint, type FarmServer, watchedServer } from "./farm.ts";
export { farmModel, type FarmRequest, farmRequest } from "./farm-model.ts";
export { type DeviceCrowd } from "./devices.ts";
export { joinAndLeave } from "./join-and-leave.ts";
export { peakEwma } from "./peak-ewma.ts";
export {
  leastRequest,
  fleetOracle,
  freshReports,
  type Picker,
  type PickerKind,
  type PickerParts,
  roundRobin,
  weightedRoundRobin,
} from "./picker.ts";
export { prequal } from "./prequal.ts";
export {
  deviceModels,
  type DeviceRouter,
  type DeviceRun,
  type DeviceScene,
  runDevices,
} from "./run-devices.ts";
export {
  type FleetRun,
  type FleetScene,
  pickerGateway,
  runFleet,
  type FleetSend,
  sendAll,
} from "./run-fleet.ts";
