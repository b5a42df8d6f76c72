export { allRights, demandRight, type Identify, type Identity, type Right } from "./identity.ts";
export { loopbackIdentity } from "./loopback.ts";
