import {
  type Clock,
  createDirectory,
  type Directory,
  type Endpoint,
  type EndpointInfo,
  LongshoreError,
  type Random,
  silentObserver,
} from "@longshore/core";
import { createRegistry, wrapEndpoint } from "@longshore/core/internal";
import type { FarmEndpoint } from "@longshore/lab";

/** Messages that a directory was sent. */
export interface DirectoryMessages {
  joins: number;
  renewals: number;
  leaves: number;
  /** Servers that went without a word. */
  silences: number;
}

/** Servers of a farm in the directory of the router: they join it, renew their leases and leave. */
export interface JoinedFarm extends AsyncDisposable {
  readonly directory: Directory;
  readonly messages: DirectoryMessages;
  dial(info: EndpointInfo): Endpoint;
  /** Resolves when the directory has the server; renews it from then on. */
  join(index: number): Promise<void>;
  /** With a word, or without one: then the directory takes it out when its lease ends. */
  leave(index: number, word: boolean): void;
}

/** A farm without members: the directory of a gateway, in the same process as the servers. */
export function joinedFarm(
  endpoints: readonly FarmEndpoint[],
  {
    clock,
    random,
    leaseMs = 15_000,
  }: { readonly clock: Clock; readonly random: Random; readonly leaseMs?: number },
): JoinedFarm {
  const desk = createRegistry({
    clock,
    instance: "farm",
    codecs: [],
    leaseMs,
    admits: { zone: "farm", trust: "operated" },
    graceMs: 0,
  });
  const directory = createDirectory({
    source: desk,
    clock,
    observer: silentObserver,
    codecs: [],
    unsignedTrust: "vouched",
  });
  const indices = new Map(endpoints.map(({ endpoint }, index) => [endpoint.info.id, index]));
  const here = new Set<number>();
  const renewing = new Map<number, Disposable>();
  const messages: DirectoryMessages = { joins: 0, renewals: 0, leaves: 0, silences: 0 };

  function infoOf(index: number): EndpointInfo {
    const info = endpoints[index]?.endpoint.info;
    if (!info) throw new LongshoreError("internal", "resolve", `the farm has no server ${index}`);
    return info;
  }

  async function tell(index: number): Promise<void> {
    const { id, zone, state } = infoOf(index);
    const statement = { address: `http://${id}.farm`, zone, state };
    await desk.join({ schemaVersion: 1, id, tier: "edge", statement }, "farm");
    if (!here.has(index)) return;
    renewing.set(
      index,
      clock.timer((leaseMs / 3) * (0.8 + 0.2 * random.next()), () => {
        messages.renewals++;
        void tell(index);
      }),
    );
  }

  return {
    directory,
    messages,
    dial({ id }) {
      const index = indices.get(id);
      const endpoint = endpoints[index ?? -1]?.endpoint;
      if (index === undefined || !endpoint)
        throw new LongshoreError("internal", "resolve", `the farm has no ${id}`);
      // A server that has left takes no new requests; it finishes those that it has.
      const there = (): Endpoint => {
        if (here.has(index)) return endpoint;
        throw new LongshoreError("unreachable", "transport", `${id} is gone`);
      };
      return wrapEndpoint(endpoint, {
        describe: async (...asked) => there().describe(...asked),
        offers: async (...asked) => there().offers(...asked),
        infer: async (...asked) => there().infer(...asked),
        capabilities: { probe: async (...asked) => there().capabilities.probe?.(...asked) },
      });
    },
    join(index) {
      messages.joins++;
      here.add(index);
      return tell(index);
    },
    leave(index, word) {
      here.delete(index);
      renewing.get(index)?.[Symbol.dispose]();
      renewing.delete(index);
      if (!word) {
        messages.silences++;
        return;
      }
      messages.leaves++;
      desk.leave({ id: infoOf(index).id }, "farm");
    },
    async [Symbol.asyncDispose]() {
      for (const one of renewing.values()) one[Symbol.dispose]();
      here.clear();
      await directory[Symbol.asyncDispose]();
      desk[Symbol.dispose]();
    },
  };
}
