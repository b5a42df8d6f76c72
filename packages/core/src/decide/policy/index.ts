export { type PolicyRule, rulePolicy } from "./rule-policy.ts";
export {
  checkDataClass,
  policyAtServer,
  type DataClassRule,
  type Policy,
  type PolicyFacts,
  standardPolicy,
  tablePolicy,
} from "./policy.ts";
