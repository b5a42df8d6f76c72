export {
  type CheckedRequest,
  type CheckResult,
  externalAuthorization,
  type RequestChecker,
} from "./external-authorization.ts";
