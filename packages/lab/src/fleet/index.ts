export type { FarmBatching } from "./batch-slot.ts";
export { farmModel, type FarmRequest, farmRequest } from "./farm-model.ts";
export { farmSequences } from "./farm-sequences.ts";
export { capacityOf, type FarmEndpoint, farmEndpoint, type FarmServer, watchedServer } from "./farm.ts";
