import { type Endpoint, LongshoreError } from "@longshore/core";
import { wrapEndpoint } from "@longshore/core/internal";
import { onnxProviders, onProcessor } from "@longshore/engine";
import { slowProvider } from "@longshore/nodejs";
import { type EngineOptions, type OpenedEngine, openEngine } from "./open-engine.ts";
import { tryProvider } from "./try-runtime.ts";

/** The engines of a device: one for the processor, and one for its accelerator where it has both. */
export interface DeviceEngines extends OpenedEngine {
  /** The accelerator as an endpoint of its own. */
  readonly others: readonly Endpoint[];
}

/**
 * Opens the engine of a device. With an accelerator and the processor among the providers it opens two over the same models,
 * because they are two endpoints to a planner: each has its own speed and queue, and a request goes where it ends sooner.
 */
export function openDeviceEngines(options: EngineOptions): DeviceEngines {
  const { providers = [] } = options;
  const processors = providers.filter(onProcessor);
  const accelerators = providers.filter((one) => !onProcessor(one));
  const [kind] = accelerators;
  if (kind === undefined || processors.length === 0) return { ...openEngine(options), others: [] };
  const main = openEngine({ ...options, providers: processors });
  const other = openEngine({
    ...options,
    id: `${options.id ?? "device"}-${kind}`,
    providers: accelerators,
    accelerator: { kind },
    sameDevice: true,
    shortRunsHere: false,
  });
  const endpoint = wrapEndpoint(other.engine, { close: () => other.close() });
  return {
    engine: main.engine,
    runtimes: main.runtimes,
    others: [endpoint],
    async close() {
      await Promise.all([main.close(), other.close()]);
    },
  };
}

/** Throws `invalid-input` for a name that no execution provider has. */
export function checkProviderNames(names: readonly string[]): void {
  const unknown = names.find((one) => !onnxProviders.includes(one));
  if (unknown === undefined) return;
  const why = `there is no execution provider '${unknown}'; there are ${onnxProviders.join(", ")} (longshore doctor tells which work here)`;
  throw new LongshoreError("invalid-input", "resolve", why);
}

/**
 * The providers that are worth using on this machine. `passedOver` is called with the reason why another is not: it does not
 * work, or the processor emulates it. The processor always is. Throws `unsupported` where none is left, and `invalid-input` for a name that no
 * provider has.
 */
export async function usableProviders(
  providers: readonly string[],
  passedOver: (provider: string, why: string) => void,
): Promise<readonly string[]> {
  checkProviderNames(providers);
  const problems: string[] = [];
  const checked = await Promise.all(
    providers.map(async (provider) => {
      if (onProcessor(provider)) return true;
      const slow = providers.some(onProcessor) ? slowProvider(provider) : undefined;
      if (slow !== undefined) {
        passedOver(provider, slow);
        return false;
      }
      try {
        await tryProvider(provider);
        return true;
      } catch (thrown) {
        const { message } = LongshoreError.from(thrown, "execute", `trying ${provider}`);
        passedOver(provider, message);
        problems.push(`${provider}: ${message}`);
        return false;
      }
    }),
  );
  const usable = providers.filter((_, index) => checked[index]);
  if (usable.length > 0) return usable;
  const why = `no execution provider of [${providers.join(", ")}] works here (${problems.join("; ")})`;
  throw new LongshoreError("unsupported", "execute", why);
}
