export { canonicalJson } from "./canonical.ts";
export {
  checkSignature,
  type KeyRing,
  sign,
  type Signature,
  signatureFrom,
  type Signed,
  type Signer,
} from "./signed.ts";
