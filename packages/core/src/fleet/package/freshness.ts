import { LongshoreError } from "../../words/base/index.ts";
import type { BelievedManifest, PackageManifest } from "./manifest.ts";

/*
 * A signature says who made a package and not when: each package that was ever signed could be put back, with whatever was wrong
 * with it. So the operator numbers the packages of a model, and states an end if they are to be signed again by then; whoever installs one remembers its number, and
 * refuses lower ones. To go back to an earlier content, the operator signs that content again, which gives it the next number.
 */

/** The package of a model with the highest serial that was installed. */
export interface InstalledPackage {
  /** 0 for a package without a serial. */
  readonly serial: number;
  readonly digest: string;
}

/** The serial of a package; 0 for one of schema version 1, which has none, and so is older than any that has one. */
export function packageSerial({ serial = 0 }: PackageManifest): number {
  return serial;
}

/** Throws `package-expired` from the end of a package on. */
export function checkPackageEnd({ model, notAfterMs }: PackageManifest, wallMs: number): void {
  if (notAfterMs === undefined || wallMs < notAfterMs) return;
  throw new LongshoreError(
    "package-expired",
    "identify",
    `the package of ${model} could be used until ${new Date(notAfterMs).toISOString()}: sign it again`,
  );
}

/**
 * Throws `package-outdated` for a package with a lower serial than the installed one, and `conflict` for another package with the same
 * serial. Packages without a serial have no order among themselves.
 */
export function checkPackageSerial(
  { digest, manifest }: Pick<BelievedManifest, "digest" | "manifest">,
  installed: InstalledPackage | undefined,
): void {
  if (!installed || installed.serial === 0 || installed.digest === digest) return;
  const { model } = manifest;
  const serial = packageSerial(manifest);
  if (serial > installed.serial) return;
  if (serial === installed.serial) {
    throw new LongshoreError(
      "conflict",
      "identify",
      `the packages ${digest} and ${installed.digest} of ${model} have the same serial ${serial}, and the second was installed here: sign one of them again`,
    );
  }
  const has = serial === 0 ? "no serial" : `serial ${serial}`;
  throw new LongshoreError(
    "package-outdated",
    "identify",
    `the package of ${model} has ${has}, and one with serial ${installed.serial} was installed here: to go back to its content, sign it again`,
  );
}
