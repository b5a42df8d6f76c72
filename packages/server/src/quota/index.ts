export {
  type Allowances,
  type BudgetShelf,
  LocalAllowances,
  type SpentMicros,
  type TakeResult,
} from "./allowances.ts";
export { type LeaseReply, type LeaseRequest } from "./lease-messages.ts";
export { createAllowanceLeases, type AllowanceLeases, LeasedAllowances } from "./leases.ts";
export { type QuotaRules, type TenantLimits } from "./limits.ts";
export { createQuotas, type QuotaEntry, type Quotas } from "./quotas.ts";
