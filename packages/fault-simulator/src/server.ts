import type { DirectoryEntry, Signed, Statement } from "@longshore/core";
import { housekeepingCall, joinDirectory, type Registration, type Rollouts } from "@longshore/core/internal";
import type { Engine, ModelStore } from "@longshore/engine";
import type { ServedRepository } from "@longshore/server";
import { memoryFile } from "@longshore/testkit";
import type { Machine } from "./machine.ts";
import { repositoryFiles } from "./models.ts";
import { after, engineOn, infoOf, observerOf, repositoryOf, served, type Surroundings } from "./parts.ts";
import type { ServerSpec } from "./world-spec.ts";

/** A process of the system that is up. */
export interface Started {
  /** Requests that it took and has not answered. */
  inFlight(): number;
  /** Stops as a server does at a signal: refuses new work, finishes work under way, leaves the directory. */
  close(graceMs: number): Promise<void>;
  /** Aliases, at a gateway. */
  readonly rollouts?: Rollouts;
  /** Models of a server. */
  readonly models?: ServerModels;
}

/** The operations of an operator on the models of a server. */
export interface ServerModels {
  unload(model: string): Promise<void>;
  load(model: string): Promise<void>;
  /** Gives `sum` the content of its second version under the number of the first. Not where models come as packages. */
  replaceSum(): Promise<void>;
}

/** How a server joins, and where its models come from. */
export interface ServerSurroundings {
  /** Undefined: it joins nothing. */
  readonly directoryAt?: string;
  readonly entry?: () => Promise<Signed<DirectoryEntry>>;
  /** Undefined: they are in its own repository. */
  readonly pulls?: (stop: AbortSignal) => Promise<ModelStore>;
  readonly sumVersions: readonly number[];
}

/** The models of an engine, as a server gives them to its handler. */
export function repositoryOn(engine: Engine): ServedRepository {
  return {
    async index(_call, model) {
      const entries = await engine.index(model);
      return entries.map(({ name, version, state, reason }) => ({
        name,
        version,
        state: state === "ready" || state === "available" ? ("READY" as const) : ("UNAVAILABLE" as const),
        reason: reason ?? "",
      }));
    },
    load: (model, version, call, override) => engine.load(model, version, call, override),
    unload: (model, call, dependents) => engine.unload(model, call, dependents),
    configuration: (model, version, call) => engine.written(model, version, call),
    async head({ model, version, variant, to }, call) {
      const artifact = await engine.artifact(
        { model, version, digest: "", variant, from: "start", to },
        call,
      );
      return { digest: artifact.digest, bytes: await artifact.bytes(call) };
    },
  };
}

/** Starts a server: its port opens at once, and it is ready, and in the directory, when its models are loaded. */
export async function startServer(
  spec: ServerSpec,
  machine: Machine,
  surroundings: Surroundings,
  { directoryAt, entry, pulls, sumVersions }: ServerSurroundings,
): Promise<Started> {
  const { clock, random } = machine;
  const { network } = surroundings;
  const info = infoOf(spec.name, spec);
  const own = repositoryOf(pulls ? {} : repositoryFiles(spec.models, sumVersions));
  let pulled: ModelStore | undefined;
  // Pulled packages replace a repository that is empty.
  const store: ModelStore = {
    list: (path) => (pulled ?? own).list(path),
    read: (path) => (pulled ?? own).read(path),
  };
  const engine = engineOn(machine, surroundings, info, store, spec.speed);
  const repository = repositoryOn(engine);
  const { handler, life, endpoint } = await served(machine, surroundings, engine, {
    load: () => engine.loadReport(),
    repository,
  });
  const port = network.listen(machine, handler);
  let registration: Registration | undefined;
  const joining = (): void => {
    if (directoryAt === undefined || life.state === "draining") return;
    registration = joinDirectory({
      transport: network.transport(machine, directoryAt),
      clock,
      random,
      observer: observerOf(machine, surroundings),
      name: directoryAt,
      id: spec.name,
      request: async () => {
        const models = (await repository.index(housekeepingCall("join"))).filter(
          ({ state }) => state === "READY",
        );
        const serves = [...new Set(models.map(({ name }) => name))].map((model) => ({ segment: { model } }));
        const statement: Statement = {
          address: `http://${spec.name}`,
          zone: spec.zone,
          trust: spec.trust,
          serves,
        };
        return { tier: spec.tier, statement, ...(entry ? { signed: await entry() } : {}) };
      },
    });
  };
  const stop = new AbortController();
  const load = async (): Promise<void> => {
    try {
      if (pulls) pulled = await pulls(stop.signal);
    } catch (thrown) {
      // It was stopped while it was still starting.
      if (stop.signal.aborted) return;
      throw thrown;
    }
    for (const model of spec.models) await engine.load(model, undefined, housekeepingCall("start"));
    life.ready();
    joining();
  };
  const loaded = load();
  let closed: Promise<void> | undefined;
  const close = async (graceMs: number): Promise<void> => {
    stop.abort();
    const over = after(clock, graceMs);
    const drained = life.drain();
    if (registration) {
      await Promise.race([registration[Symbol.asyncDispose]().then(() => after(clock, 2500)), over]);
    }
    await Promise.race([drained, over]);
    // Replies on their way to callers get the time to leave.
    await after(clock, 50);
    port[Symbol.dispose]();
    await endpoint.close();
  };
  const change = housekeepingCall("operator");
  return {
    inFlight: () => life.inFlight,
    close: (graceMs) => (closed ??= close(graceMs)),
    models: {
      unload: (model) => loaded.then(() => engine.unload(model, change)),
      load: (model) => loaded.then(() => engine.load(model, undefined, change)),
      replaceSum: async () => {
        await loaded;
        if (pulls) return;
        own.put("sum/1/model.onnx", memoryFile("sum-2"));
        await engine.load("sum", undefined, change);
      },
    },
  };
}
