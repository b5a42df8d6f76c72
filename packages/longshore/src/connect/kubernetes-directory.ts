import { type Clock, LongshoreError, type Random, type RecordSource, type TrustLevel } from "@longshore/core";
import type { StatedRates } from "@longshore/core/internal";
import { adapterPackage, type Find } from "../engine/optional-package.ts";

/** The parts of `@longshore/kubernetes` that are used here. */
interface KubernetesPackage {
  connectKubernetes(): object;
  poolSource(
    options: PoolTerms &
      Opening & { readonly api: object; readonly namespace: string; readonly name: string },
  ): RecordSource;
  serviceSource(
    options: Opening & {
      readonly api: object;
      readonly namespace: string;
      readonly service?: string;
      readonly port?: string;
      readonly within?: string;
      readonly trust: TrustLevel;
    },
  ): RecordSource;
}

interface Opening {
  readonly clock: Clock;
  readonly random: Random;
}

/** State of a pool, for display and metrics. */
export interface PoolState {
  readonly pool: string;
  readonly exists: boolean;
  readonly ready: number;
  readonly unready: number;
  /** Sentence for the operator: why there is no endpoint. Undefined if there is one. */
  readonly problem: string | undefined;
}

/** Properties that the pods of a pool share. */
export interface PoolTerms {
  readonly kind?: string;
  readonly trust: TrustLevel;
  /** Zone that contains all of them. Default: none. */
  readonly within?: string;
  /** Least prices of each. Default: unknown, which no limit on cost allows. */
  readonly rates?: StatedRates;
  readonly onState?: (state: PoolState) => void;
}

const form = "kubernetes:NAMESPACE[/SERVICE[:PORT]][?zone=ZONE]";

async function packageOf(what: string, find?: Find): Promise<KubernetesPackage> {
  // The package is built with this one; its tests call the same functions.
  return (await adapterPackage("kubernetes", what, find)) as KubernetesPackage;
}

function refused(why: string): LongshoreError {
  return new LongshoreError("invalid-configuration", "resolve", why);
}

/** Whether a directory is in a Kubernetes cluster. */
export function isKubernetes(from: string): boolean {
  return from.startsWith("kubernetes:");
}

/**
 * The services of a namespace as a directory. Throws `invalid-configuration` for another form, without the package, and where no cluster is
 * configured.
 */
export async function kubernetesDirectory(
  from: string,
  opening: Opening,
  find?: Find,
): Promise<RecordSource> {
  const shape =
    /^kubernetes:(?<namespace>[a-z0-9-]{1,63})(?:\/(?<service>[a-z0-9-]{1,63})(?::(?<port>[a-z0-9-]{1,15}))?)?(?:\?zone=(?<within>[A-Za-z0-9_./-]{1,128}))?$/;
  const { namespace, service, port, within } = shape.exec(from)?.groups ?? {};
  if (namespace === undefined) {
    throw refused(`a directory in Kubernetes is ${form}, not '${from.slice(0, 80)}'`);
  }
  const { connectKubernetes, serviceSource } = await packageOf("a directory in Kubernetes", find);
  return serviceSource({
    ...opening,
    api: connectKubernetes(),
    namespace,
    trust: "listed",
    ...(service === undefined ? {} : { service }),
    ...(port === undefined ? {} : { port }),
    ...(within === undefined ? {} : { within }),
  });
}

/** The pods of an InferencePool as a directory. Throws as `kubernetesDirectory` does. */
export async function kubernetesPool(
  pool: string,
  terms: PoolTerms,
  opening: Opening,
  find?: Find,
): Promise<RecordSource> {
  const [namespace = "", name = "", ...more] = pool.split("/");
  if (namespace === "" || name === "" || more.length > 0) {
    throw refused(
      `--pool wants NAMESPACE/NAME of an InferencePool, such as shop/ocr, not '${pool.slice(0, 80)}'`,
    );
  }
  const { connectKubernetes, poolSource } = await packageOf("--pool", find);
  return poolSource({ ...opening, ...terms, api: connectKubernetes(), namespace, name });
}
