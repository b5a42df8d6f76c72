import { Once } from "@longshore/core/internal";
import type { LoadedVersion } from "../repository/index.ts";

/** A version in use by a request. Until it is disposed the version stays as it is, even if another is loaded. */
export interface VersionLease extends Disposable {
  readonly loaded: LoadedVersion;
  /** Owner of the graphs that are loaded for it. */
  readonly owner: object;
}

/** A version that is served, or was until the last lease of it goes. */
export interface LeasedVersion {
  readonly loaded: LoadedVersion;
  leases: number;
  retired: boolean;
  readonly gone: Promise<void>;
  leave(): void;
}

/** Whether models that another one is made of go with it, or which of them may. */
export type Dependents = boolean | ((model: string) => boolean);

/** A lease of it, with which the version goes where it is retired and this is the last one. */
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

/** Whether a lane has something to do for it. */
export function hasTransforms({ programs }: LoadedVersion): boolean {
  return [...programs.values()].some(({ steps }) => steps.some(({ kind }) => kind === "transform"));
}
