import { type Call, LongshoreError } from "@longshore/core";
import { type GraphBody, someNames } from "../repository/index.ts";
import {
  type Artifact,
  providersInOrder,
  type LoadOptions,
  onProcessor,
  type Runtime,
} from "../runtime/index.ts";
import type { GraphPoolParts } from "./graph-pool-parts.ts";
import type { OpenSession } from "./instance.ts";
import type { OpenParts } from "./open-scheduler.ts";
import type { ProviderTrials } from "./provider-trials.ts";
import type { ResourceClaim } from "./rate-limiter.ts";

/** How each instance is loaded - on the runtime that it names, or on the first that can - and what its runs take. */
export function opensFor(
  parts: GraphPoolParts,
  trials: ProviderTrials,
  graph: GraphBody,
  artifact: Artifact,
): Pick<OpenParts, "opens" | "claims"> {
  const opens: OpenSession[] = [];
  const claims: (ResourceClaim | undefined)[] = [];
  try {
    for (const { count, kind, runtime, resources, priority } of graph.instances) {
      const attempts = attemptsOn(runtimesFor(parts, graph, runtime), (one) =>
        providerOrder(one, { kind, written: graph.providers, gpuFallback: parts.gpuFallback ?? false }),
      );
      const open = openFirst(parts, trials, graph, kind, attempts, artifact);
      for (let index = 0; index < count; index++) {
        opens.push(open);
        const limited = resources.length > 0;
        claims.push(limited ? parts.limiter?.register(graph.model, resources, priority) : undefined);
      }
    }
  } catch (thrown) {
    for (const claim of claims) claim?.[Symbol.dispose]();
    throw thrown;
  }
  return { opens, claims };
}

function runtimesFor(
  { runtimes, sandbox }: GraphPoolParts,
  graph: GraphBody,
  name: string | undefined,
): readonly Runtime[] {
  if (!graph.trusted) {
    if (sandbox) return [sandbox];
    throw new LongshoreError(
      "unsupported",
      "execute",
      `model ${graph.model} is not trusted, and this endpoint has no sandbox to run it in`,
    );
  }
  const named = name === undefined ? runtimes : runtimes.filter((one) => one.name === name);
  if (named.length > 0) return named;
  throw new LongshoreError(
    "invalid-configuration",
    "execute",
    `model ${graph.model} wants the runtime ${name ?? "at all"}; there are ${someNames(runtimes.map((one) => one.name))}`,
  );
}

/** One way to load a model. Without a provider the runtime has no choice, and computes on the processor. */
interface Attempt {
  readonly runtime: Runtime;
  readonly provider: string | undefined;
  /** Why the provider is tried after the processor, although it was written before it. */
  readonly after?: string | undefined;
}

function attemptsOn(
  runtimes: readonly Runtime[],
  order: (runtime: Runtime) => readonly Omit<Attempt, "runtime">[],
): readonly Attempt[] {
  return runtimes.flatMap((runtime) => order(runtime).map((one) => ({ runtime, ...one })));
}

/** The settings that decide which execution providers are tried. */
interface ProviderWish {
  readonly kind: "any" | "cpu" | "gpu";
  /** The providers that the model's configuration lists; undefined if it lists none. */
  readonly written: readonly string[] | undefined;
  readonly gpuFallback: boolean;
}

/** The providers of a runtime that instances of a kind may have, in the order in which they are tried. */
function providerOrder(
  runtime: Runtime,
  { kind, written, gpuFallback }: ProviderWish,
): readonly Omit<Attempt, "runtime">[] {
  const { providers: own, slowHere } = runtime;
  if (!own) return kind === "gpu" && !gpuFallback ? [] : [{ provider: undefined }];
  const listed = written ?? own;
  const processors = listed.filter(onProcessor);
  const accelerators = listed.filter((one) => !onProcessor(one));
  const plain = processors.length > 0 ? processors : ["cpu"];
  if (kind === "cpu") return plain.map((provider) => ({ provider }));
  if (kind === "gpu")
    return [...accelerators, ...(gpuFallback ? plain : [])].map((provider) => ({ provider }));
  const { order, slow } = providersInOrder(listed, slowHere);
  return order.map((provider) =>
    slow.has(provider) ? { provider, after: slowHere?.(provider) } : { provider },
  );
}

/**
 * Loads with the first attempt that succeeds. A runtime never falls back by itself: this function moves to the next attempt
 * when the runtime cannot run the model (`unsupported`) or when an accelerator fails. Each attempt is recorded as an event.
 */
function openFirst(
  { clock, observer, limits }: GraphPoolParts,
  trials: ProviderTrials,
  { model, version }: GraphBody,
  kind: ProviderWish["kind"],
  attempts: readonly Attempt[],
  artifact: Artifact,
): OpenSession {
  const options: LoadOptions = { threads: limits.threads };
  const tell = ({ runtime, provider }: Attempt, taken: boolean, why?: string): void => {
    if (provider === undefined) return;
    observer.record({
      kind: "provider-tried",
      atMs: clock.nowMs(),
      model,
      version,
      runtime: runtime.name,
      provider,
      taken,
      ...(why === undefined ? {} : { why }),
    });
  };
  return async (call: Call) => {
    const problems: LongshoreError[] = [];
    for (const attempt of attempts) if (attempt.after !== undefined) tell(attempt, false, attempt.after);
    for (const attempt of attempts) {
      const { runtime, provider } = attempt;
      const accelerated = provider !== undefined && !onProcessor(provider);
      try {
        if (accelerated) await trials.check(runtime, provider, { model, version }, artifact, options, call);
        const chosen = provider === undefined ? options : { ...options, providers: [provider] };
        const session = await runtime.load(artifact, chosen, call);
        const instead = kind === "gpu" && !accelerated;
        tell(attempt, true, instead ? "the model asks for a GPU, and --gpu-fallback is set" : undefined);
        return session;
      } catch (thrown) {
        if (!LongshoreError.is(thrown) || call.abort.aborted) throw thrown;
        if (thrown.reason !== "unsupported" && !accelerated) throw thrown;
        if (accelerated) tell(attempt, false, thrown.message);
        problems.push(thrown);
      }
    }
    const [first] = problems;
    if (first && problems.length === 1) throw first;
    const why = problems.map(({ message }) => message).join("; ");
    throw new LongshoreError(
      "unsupported",
      "execute",
      why === "" ? `model ${model} wants a GPU, and no runtime here uses one` : why,
      { cause: first },
    );
  };
}
