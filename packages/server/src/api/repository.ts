import {
  binaryType,
  type Call,
  digestHeader,
  LongshoreError,
  parseJson,
  read,
  readBody,
  type Route,
  type WireResponse,
} from "@longshore/core";
import type { Api, Asked } from "./parts.ts";
import { jsonReply } from "./replies.ts";

/** One line of the repository's index. */
export interface IndexEntry {
  readonly name: string;
  readonly version: string;
  /** As Triton says it: `READY`, `LOADING`, `UNLOADING`, `UNAVAILABLE`. */
  readonly state: string;
  readonly reason: string;
}

/** What the API needs of the models behind an endpoint, beyond running them. */
export interface ServedRepository {
  index(call: Call): Promise<readonly IndexEntry[]>;
  load(model: string, version: string | undefined, call: Call): Promise<void>;
  unload(model: string, call: Call): Promise<void>;
  /** The part of a model from `start` to a cut as an ONNX file; undefined where it is not one. */
  head?(
    address: {
      readonly model: string;
      readonly version: string;
      readonly variant: string;
      readonly to: string;
    },
    call: Call,
  ): Promise<{ readonly digest: string; readonly bytes: Uint8Array } | undefined>;
}

/** The most that a request to the repository may say. */
const maxRequestBytes = 65_536;

/** The JSON object in a request's body; an empty body is an empty object, as Triton's clients send it. */
async function requestObject({ request }: Asked): Promise<object> {
  const bytes = await readBody(request.body, { maxBytes: maxRequestBytes });
  return bytes.byteLength === 0 ? {} : read.objectAt(parseJson(bytes, "the request"), "the request");
}

/** `POST v2/repository/index`. */
export async function repositoryIndex(api: Api, asked: Asked): Promise<WireResponse> {
  const object = await requestObject(asked);
  const ready = read.optional(read.flag)(read.own(object, "ready"), "ready") ?? false;
  const entries = (await api.repository?.index(asked.call)) ?? [];
  const sees = asked.identity.sees ?? (() => true);
  return jsonReply(entries.filter((entry) => sees(entry.name) && (!ready || entry.state === "READY")));
}

/** `POST v2/repository/models/{m}/load` and `/unload`. Files and configurations from clients are refused. */
export async function repositoryControl(
  api: Api,
  route: Route & { kind: "load" | "unload" },
  asked: Asked,
): Promise<WireResponse> {
  if (!api.modelControl || !api.repository) {
    throw new LongshoreError(
      "not-permitted",
      "admission",
      "loading and unloading is switched off on this server",
    );
  }
  const parameters = read.own(await requestObject(asked), "parameters");
  const names = parameters === undefined ? [] : Object.keys(read.objectAt(parameters, "parameters"));
  if (names.some((name) => name === "config" || name.startsWith("file:"))) {
    throw new LongshoreError(
      "unsupported",
      "admission",
      "models are loaded from this server's repository only, not from files or configurations in a request",
    );
  }
  if (route.kind === "load") await api.repository.load(route.model, undefined, asked.call);
  else await api.repository.unload(route.model, asked.call);
  return jsonReply({});
}

/** `GET v2/models/{m}/versions/{v}/variants/{variant}/head/{to}`: the head of a split, as an ONNX file. */
export async function modelHead(
  api: Api,
  route: Route & { kind: "head" },
  asked: Asked,
): Promise<WireResponse> {
  const { model, version, variant, to } = route;
  const head = await api.repository?.head?.({ model, version, variant, to }, asked.call);
  if (!head) {
    throw new LongshoreError(
      "unknown-cut",
      "resolve",
      `${model}/${version}/${variant} has no head to '${to}' here`,
    );
  }
  return {
    status: 200,
    headers: { "content-type": binaryType, [digestHeader]: head.digest, etag: `"${head.digest}"` },
    body: { kind: "parts", parts: [head.bytes] },
  };
}
