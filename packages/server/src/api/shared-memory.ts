import { LongshoreError, type WireResponse } from "@longshore/core";
import {
  checkTensorBytes,
  type InferRequestMessage,
  read,
  type Route,
  type SharedPart,
  type WireTensor,
} from "@longshore/core/internal";
import { fromThisMachine } from "../identify/index.ts";
import type { Exchanging, IncomingRequest } from "./parts.ts";
import { doneReply, jsonReply, requestObject } from "./replies.ts";
import { SharedRegions } from "./shared-regions.ts";

type SharedRoute = Route & { kind: "shared-status" | "shared-register" | "shared-unregister" };

/** Memory is shared with programs on this machine only. A name from another machine means other memory. */
function demandThisMachine({ request }: IncomingRequest): void {
  if (fromThisMachine(request)) return;
  throw new LongshoreError(
    "not-permitted",
    "admission",
    "memory is shared with programs on this machine only",
  );
}

/** `v2/{system,cuda}sharedmemory[/region/{region}]/{status,register,unregister}`. */
export async function sharedMemory(
  api: Exchanging,
  route: SharedRoute,
  incoming: IncomingRequest,
): Promise<WireResponse> {
  const { tenant } = incoming.identity;
  const regions = route.memory === "system" ? api.tensors.regions : noRegions;
  if (route.kind === "shared-status") {
    return jsonReply(
      regions.list(tenant, route.region).map(({ name, key, offset, byteSize }) => ({
        name,
        key,
        offset,
        byte_size: byteSize,
      })),
    );
  }
  const object = await requestObject(incoming);
  if (route.kind === "shared-unregister") {
    await regions.unregister(tenant, route.region);
    return doneReply;
  }
  if (route.memory === "cuda") {
    throw new LongshoreError("unsupported", "admission", "this server shares no CUDA memory");
  }
  if (!regions.enabled) {
    throw new LongshoreError("invalid-input", "admission", "shared memory is switched off on this server");
  }
  demandThisMachine(incoming);
  const key = read.readText(256)(read.own(object, "key"), "key");
  const offset = read.optional(read.readWhole())(read.own(object, "offset"), "offset") ?? 0;
  const byteSize = read.readWhole(1)(read.own(object, "byte_size"), "byte_size");
  await regions.register(tenant, route.region ?? "", key, offset, byteSize);
  return doneReply;
}

/** CUDA memory: there is never any, and tidying up works. */
const noRegions: SharedRegions = new SharedRegions(undefined);

/** A message with tensors in shared memory, and the mappings that it holds while the request is under way. */
export interface SharedInputs {
  readonly message: InferRequestMessage;
  /** The owner of the message disposes it. */
  readonly held?: Disposable;
}

/**
 * The message with the bytes of inputs that lie in shared memory, which count against the server's budget. Parts for
 * outputs are checked, too.
 */
export function readShared(
  api: Exchanging,
  incoming: IncomingRequest,
  message: InferRequestMessage,
): SharedInputs | Promise<SharedInputs> {
  const { inputs, outputs = [] } = message;
  if (!inputs.some(sharing) && !outputs.some(sharing)) return { message };
  const parts = inputs.flatMap(({ shared }) => (shared ? [shared] : []));
  const wanted = outputs.flatMap(({ shared }) => (shared ? [shared] : []));
  return readParts(api, incoming, message, parts, wanted);
}

function sharing({ shared }: { readonly shared?: SharedPart }): boolean {
  return shared !== undefined;
}

async function readParts(
  api: Exchanging,
  incoming: IncomingRequest,
  message: InferRequestMessage,
  parts: readonly SharedPart[],
  wanted: readonly SharedPart[],
): Promise<SharedInputs> {
  demandThisMachine(incoming);
  const { tenant } = incoming.identity;
  for (const part of [...parts, ...wanted]) api.tensors.regions.check(tenant, part);
  const held = api.bodies.budget.reserve(parts.reduce((total, part) => total + part.byteSize, 0));
  try {
    const inputs: WireTensor[] = [];
    for (const { shared, ...tensor } of message.inputs) {
      const whole = shared ? { ...tensor, bytes: await api.tensors.regions.read(tenant, shared) } : tensor;
      if (shared) checkTensorBytes(whole, api.bodies.limits);
      inputs.push(whole);
    }
    return { message: { ...message, inputs }, held };
  } catch (thrown) {
    held[Symbol.dispose]();
    throw thrown;
  }
}

/** Writes outputs into shared memory where requested; the reply says where. */
export function writeShared(
  api: Exchanging,
  incoming: IncomingRequest,
  message: InferRequestMessage,
  outputs: readonly WireTensor[],
): readonly WireTensor[] | Promise<readonly WireTensor[]> {
  if (message.outputs?.some(({ shared }) => shared) !== true) return outputs;
  return writeParts(api, incoming, message, outputs);
}

async function writeParts(
  api: Exchanging,
  incoming: IncomingRequest,
  message: InferRequestMessage,
  outputs: readonly WireTensor[],
): Promise<readonly WireTensor[]> {
  const written: WireTensor[] = [];
  for (const output of outputs) {
    const part = message.outputs?.find(({ name }) => name === output.name)?.shared;
    if (!part) {
      written.push(output);
      continue;
    }
    await api.tensors.regions.write(incoming.identity.tenant, part, output.bytes);
    const shared = { ...part, byteSize: output.bytes.byteLength };
    written.push({ ...output, bytes: new Uint8Array(0), shared });
  }
  return written;
}
