export { type ApiKey, type KeyHasher, keyHasher, newApiKey } from "./api-key.ts";
export { type IdentityConfiguration, parseIdentity } from "./configuration.ts";
export { createIdentify, type Identification, type IdentifyParts } from "./create-identify.ts";
export { fetchKeySet, type FetchKeySetParts, keySetAddress } from "./fetch-key-set.ts";
export { allRights, demandRight, type Identify, type Identity, type Right } from "./identity.ts";
export { type KeyRecord, parseKeyFile, writeKeyFile } from "./key-file.ts";
export type { KeyRing } from "./key-ring.ts";
export { fromThisMachine, loopbackIdentity } from "./loopback.ts";
export { holdsCredential } from "./shown.ts";
