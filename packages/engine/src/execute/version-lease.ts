import { Once } from "@longshore/core/internal";
import type { LoadedVersion } from "../repository/index.ts";

/** A version in use by a request. Until it is disposed the version stays as it is, even if another is loaded. */
export interface VersionLease extends Disposable {
  readonly loaded: LoadedVersion;
  /** Owner of the graphs that are loaded for it. */
  readonly owner: object;
}

/** A version that is served, or that is retired and unloaded with its last lease. */
export interface LeasedVersion {
  readonly loaded: LoadedVersion;
  leases: number;
  retired: boolean;
  readonly gone: Promise<void>;
  leave(): void;
}

/** Whether the models of the steps of a pipeline are unloaded with it, or which of them. */
export type Dependents = boolean | ((model: string) => boolean);

/** A lease of a version. When the last lease of a retired version is disposed, the version is unloaded. */
export class LeaseOfVersion extends Once implements VersionLease {
  readonly loaded: LoadedVersion;
  readonly owner: object;

  constructor(held: LeasedVersion) {
    super(() => {
      held.leases--;
      if (held.retired && held.leases === 0) held.leave();
    });
    held.leases++;
    this.loaded = held.loaded;
    this.owner = held;
  }
}

/** Whether a version has transforms, which run in a lane. */
export function hasTransforms({ programs }: LoadedVersion): boolean {
  return [...programs.values()].some(({ steps }) => steps.some(({ kind }) => kind === "transform"));
}
