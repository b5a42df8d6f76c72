import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { LongshoreError } from "@longshore/core";
import {
  type AttributeContext,
  CheckRequestSchema,
  CheckResponseSchema,
  HeaderValueOption_HeaderAppendAction as Append,
} from "../proto/external_auth_pb.ts";
import type { GrpcService, MethodCall } from "../service/index.ts";

type Headers = Readonly<Record<string, string>>;

/** A request of a client of the proxy, before its body. */
export interface CheckedRequest {
  readonly id: string;
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** By lower-case name, without pseudo-headers. */
  readonly headers: Headers;
  /** Address of the client, as the proxy sees it; empty if it tells none. */
  readonly source: string;
}

/** Whether a request may go on. */
export type CheckResult =
  | {
      readonly allowed: true;
      /** Headers that the request gets, instead of its own of these names. */
      readonly headers: Headers;
      /** Names of headers that it loses. */
      readonly removed: readonly string[];
    }
  | {
      readonly allowed: false;
      /** Number of gRPC's status, for the proxy's own log. */
      readonly code: number;
      readonly status: number;
      readonly headers: Headers;
      readonly body: string;
    };

/** Decides whether requests may go on. An error becomes the status of the call, which the proxy handles by its failure mode. */
export interface RequestChecker {
  check(request: CheckedRequest): Promise<CheckResult>;
}

const serviceName = "envoy.service.auth.v3.Authorization";
const utf8 = new TextDecoder();

function headersOf(http: NonNullable<AttributeContext["request"]>["http"]): Record<string, string> {
  const headers: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [key, value] of Object.entries(http?.headers ?? {})) headers[key.toLowerCase()] = value;
  for (const { key, value, rawValue } of http?.headerMap?.headers ?? []) {
    const name = key.toLowerCase();
    const text = rawValue.byteLength > 0 ? utf8.decode(rawValue) : value;
    const before = headers[name];
    headers[name] = before === undefined ? text : `${before}, ${text}`;
  }
  for (const name of Object.keys(headers)) if (name.startsWith(":")) delete headers[name];
  return headers;
}

function requestIn(bytes: Uint8Array): CheckedRequest {
  let attributes: AttributeContext | undefined;
  try {
    ({ attributes } = fromBinary(CheckRequestSchema, bytes));
  } catch (cause) {
    const what = `the message is no CheckRequest of ${serviceName}`;
    throw new LongshoreError("invalid-input", "decode", what, { cause });
  }
  const http = attributes?.request?.http;
  if (!http || http.method === "" || !http.path.startsWith("/")) {
    throw new LongshoreError("invalid-input", "decode", "the message holds no request over HTTP");
  }
  const { id, method, path, host } = http;
  return {
    id,
    method,
    path,
    headers: { ...(host === "" ? {} : { host }), ...headersOf(http) },
    source: attributes?.source?.address?.socketAddress?.address ?? "",
  };
}

function set(headers: Headers) {
  return Object.entries(headers).map(([key, value]) => ({
    header: { key, value },
    appendAction: Append.OVERWRITE_IF_EXISTS_OR_ADD,
  }));
}

async function check(call: MethodCall, checker: RequestChecker): Promise<void> {
  const bytes = await call.next();
  if (!bytes) throw new LongshoreError("invalid-input", "decode", "the call ended without a message");
  const result = await checker.check(requestIn(bytes));
  const response = result.allowed
    ? create(CheckResponseSchema, {
        status: { code: 0 },
        httpResponse: {
          case: "okResponse",
          value: { headers: set(result.headers), headersToRemove: [...result.removed] },
        },
      })
    : create(CheckResponseSchema, {
        status: { code: result.code },
        httpResponse: {
          case: "deniedResponse",
          value: { status: { code: result.status }, headers: set(result.headers), body: result.body },
        },
      });
  await call.send(toBinary(CheckResponseSchema, response));
}

/** Envoy's external authorization (`ext_authz` v3): one call for each request, which is held until it is answered. */
export function externalAuthorization(checker: RequestChecker): GrpcService {
  return { name: serviceName, methods: { Check: (call) => check(call, checker) } };
}
