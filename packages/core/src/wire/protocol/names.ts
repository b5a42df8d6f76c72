/** Names of the headers of the wire, and conventions for names. Header names are lower-case. */

/** Bytes of the JSON that stands before the binary tensors; 0 for a raw request. */
export const headerLengthHeader = "inference-header-content-length";
/** Remaining time of the call, in milliseconds, when the sender began to send. */
export const deadlineHeader = "longshore-deadline";
/** The longest wait before its run that the sender believes in, in milliseconds: with a longer one the request is not taken. */
export const mostWaitHeader = "longshore-most-wait";
/** Zones, data class and least trust of the call. */
export const rulesHeader = "longshore-rules";
/** Endpoints that the call has been through. */
export const pathHeader = "longshore-path";
/** The digest of the model version that the sender planned with. */
export const digestHeader = "longshore-digest";
/**
 * From 0 to 1: a variant that agrees at least this much with the requested one may answer instead when that one cannot make the
 * deadline.
 */
export const agreementHeader = "longshore-agreement";
/** The most that the request may cost, in micros. */
export const maxCostHeader = "longshore-max-cost";
export const goalHeader = "longshore-goal";
/** `1` requests the account, `timing` its times only, `because` the reason why it ran where it did. */
export const accountHeader = "longshore-account";
/** The parameter of a reply that has it. */
export const accountParameter = "longshore_account";
/** The parameter of a reply that says why the request ran where it did. */
export const becauseParameter = "longshore_because";
/** `several`: the sender takes any number of answers to one request, as frames of one body. */
export const answersHeader = "longshore-answers";
/** Asks for interim responses each time that many more bytes of the body have arrived. */
export const acknowledgeHeader = "longshore-acknowledge";
/** In an interim 102 response: bytes of the body that have arrived, in all. */
export const acknowledgedHeader = "longshore-acknowledged";
/** Load of the server, on every reply. */
export const loadHeader = "longshore-load";
/** Milliseconds between the last byte of the body and the reply. */
export const tookHeader = "longshore-took";
/** The sender's key for requests that are the same request. */
export const idempotencyHeader = "idempotency-key";
/** The tenant that a request is for, from a server that may speak for others. */
export const tenantHeader = "longshore-tenant";
/** The upper limit of a forwarded request's rights, as words with commas between: the rights of its original sender. */
export const rightsHeader = "longshore-rights";
/** W3C trace context. */
export const traceHeader = "traceparent";
export const traceStateHeader = "tracestate";
/** ORCA load report, and the request for one. */
export const orcaHeader = "endpoint-load-metrics";
export const orcaFormatHeader = "endpoint-load-metrics-format";

/** Inputs and outputs that carry the state of a sequence are called by this and the name of the state. */
export const statePrefix = "longshore-state:";
/** The companion of a ragged tensor is called by its name and this. */
export const rowsSuffix = "~rows";

/** Parameter of requests: outputs come as binary data unless they say otherwise. */
export const binaryOutputsParameter = "binary_data_output";

/** Media types of bodies. */
export const jsonType = "application/json";
export const binaryType = "application/octet-stream";
export const answersType = "application/vnd.longshore.answers";
