import { LongshoreError } from "../../words/base/index.ts";
import type { BelievedManifest, PackageManifest } from "./manifest.ts";

/*
 * A signature proves who made a package, not when. An attacker could replay any package that was ever signed, with its flaws. So the
 * operator numbers the packages of a model, and sets an end date for packages that must be signed again. An installer remembers the number
 * and refuses lower ones. To return to an earlier content, the operator signs that content again with the next number.
 */

/** The package of a model with the highest serial that was installed. */
export interface InstalledPackage {
  /** 0 for a package without a serial. */
  readonly serial: number;
  readonly digest: string;
}

/** The serial of a package; 0 for schema version 1, which has none and is older than any package with one. */
export function packageSerial({ serial = 0 }: PackageManifest): number {
  return serial;
}

/** Throws `package-expired` after the end of a package. */
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
 * serial. Packages without a serial have no order.
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
