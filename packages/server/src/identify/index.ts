export { demandRight, type Identify, type Identity, loopbackIdentity, type Right } from "./identify.ts";
