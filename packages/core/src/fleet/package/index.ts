export { checkPackageEnd, checkPackageSerial, type InstalledPackage, packageSerial } from "./freshness.ts";
export { headsName, type PackageGraph, type PackageHead, type PackageHeads, readHeads } from "./heads.ts";
export {
  type BelievedManifest,
  believeManifest,
  manifestDigest,
  manifestFrom,
  manifestJson,
  manifestName,
  type PackageFile,
  type PackageManifest,
  signedManifestFrom,
} from "./manifest.ts";
export {
  fileBytes,
  type FileBytes,
  maxManifestBytes,
  type PackageReference,
  type PackageSource,
  remotePackages,
} from "./source.ts";
