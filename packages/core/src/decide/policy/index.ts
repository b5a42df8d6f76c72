export { type DataClassRule, type Policy, type PolicyFacts, standardPolicy, tablePolicy } from "./policy.ts";
