import type { Call } from "@longshore/core";

/** One package that a server gives away. */
export interface ShelvedPackage {
  readonly model: string;
  readonly digest: string;
  /** The signed manifest as JSON. */
  readonly manifest: Uint8Array;
}

/** The packages that a server gives away. */
export interface PackageShelf {
  ofModel(model: string, call: Call): Promise<ShelvedPackage | undefined>;
  ofDigest(digest: string, call: Call): Promise<ShelvedPackage | undefined>;
  /** A file of a package from some byte on, with its whole length; undefined when it is not one of the package's. */
  open(
    one: ShelvedPackage,
    file: string,
    fromByte: number,
    call: Call,
  ): Promise<{ readonly bytes: number; read(): AsyncIterable<Uint8Array> } | undefined>;
}
