// oxlint-disable-next-line import/no-unassigned-import -- the library finds the polyfill as a global
import "reflect-metadata";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type GeneralNameType,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";

/** A certificate and its key, as TLS takes them. */
export interface TestCertificate {
  readonly certificatePem: string;
  readonly keyPem: string;
  /** SHA-256 of the certificate in DER, in lower-case hexadecimal digits. */
  readonly fingerprint: string;
}

/** The fields of a certificate of the authority. */
export interface IssueOptions {
  readonly name: string;
  readonly uris?: readonly string[];
  readonly hosts?: readonly string[];
  readonly addresses?: readonly string[];
  /** Default: an hour ago to a day from now. */
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** An authority of a test's own. */
export interface TestAuthority {
  readonly certificatePem: string;
  issue(options: IssueOptions): Promise<TestCertificate>;
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const hourMs = 3_600_000;

const newKeys = (): Promise<CryptoKeyPair> =>
  crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);

const serial = (): string =>
  [...crypto.getRandomValues(new Uint8Array(8))]
    .map((byte) => (byte & 0x7f).toString(16).padStart(2, "0"))
    .join("");

function altNames({ uris = [], hosts = [], addresses = [] }: IssueOptions): SubjectAlternativeNameExtension {
  const named = (
    type: GeneralNameType,
    values: readonly string[],
  ): { type: GeneralNameType; value: string }[] => values.map((value) => ({ type, value }));
  return new SubjectAlternativeNameExtension([
    ...named("url", uris),
    ...named("dns", hosts),
    ...named("ip", addresses),
  ]);
}

async function issue(
  authority: X509Certificate,
  signingKey: CryptoKey,
  options: IssueOptions,
  nowMs: number,
): Promise<TestCertificate> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=${options.name}`,
    issuer: authority.subject,
    notBefore: options.notBefore ?? new Date(nowMs - hourMs),
    notAfter: options.notAfter ?? new Date(nowMs + 24 * hourMs),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
      await AuthorityKeyIdentifierExtension.create(authority),
      altNames(options),
    ],
  });
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  const digest = new Uint8Array(await certificate.getThumbprint("SHA-256"));
  return {
    certificatePem: certificate.toString("pem"),
    keyPem: PemConverter.encode(pkcs8, "PRIVATE KEY"),
    fingerprint: [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
  };
}

/** An authority that signs certificates for tests: P-256, so that a test makes dozens quickly. */
export async function testAuthority(name = "test authority"): Promise<TestAuthority> {
  const nowMs = Date.now();
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `CN=${name}`,
    notBefore: new Date(nowMs - 24 * hourMs),
    notAfter: new Date(nowMs + 48 * hourMs),
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(true, 1, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return {
    certificatePem: certificate.toString("pem"),
    issue: (options) => issue(certificate, keys.privateKey, options, nowMs),
  };
}
