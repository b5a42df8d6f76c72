import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestAuthority, testAuthority } from "@longshore/testkit/certificates";

/** A certificate of this machine as files, and the authority that signed it. */
export interface WrittenCertificate {
  readonly authority: TestAuthority;
  /** Files of the server's certificate and its key. */
  readonly tls: { readonly certificate: string; readonly key: string };
  /** File of the authority's certificate. */
  readonly authorityFile: string;
}

/** Writes a certificate for 127.0.0.1 to a folder. */
export async function writeCertificate(folder: string): Promise<WrittenCertificate> {
  const authority = await testAuthority();
  const { certificatePem, keyPem } = await authority.issue({ name: "here", addresses: ["127.0.0.1"] });
  const tls = { certificate: join(folder, "server.pem"), key: join(folder, "server.key") };
  const authorityFile = join(folder, "authority.pem");
  await writeFile(tls.certificate, certificatePem);
  await writeFile(tls.key, keyPem);
  await writeFile(authorityFile, authority.certificatePem);
  return { authority, tls, authorityFile };
}
