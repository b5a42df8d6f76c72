import { gzipSync } from "node:zlib";

/** A file of an archive. */
export interface ArchiveFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const block = 512;

function field(header: Buffer, at: number, length: number, value: string): void {
  header.write(value.slice(0, length), at, "ascii");
}

/** A gzipped archive in the POSIX format (ustar); names of up to 100 ASCII characters. */
export function tarGz(files: readonly ArchiveFile[], seconds: number): Buffer {
  const parts: Uint8Array[] = [];
  for (const { name, bytes } of files) {
    const header = Buffer.alloc(block);
    field(header, 0, 100, name);
    field(header, 100, 8, "0000600\0");
    field(header, 108, 8, "0000000\0");
    field(header, 116, 8, "0000000\0");
    field(header, 124, 12, `${bytes.byteLength.toString(8).padStart(11, "0")}\0`);
    field(header, 136, 12, `${Math.floor(seconds).toString(8).padStart(11, "0")}\0`);
    // The checksum is computed with blanks in its own field.
    field(header, 148, 8, "        ");
    field(header, 156, 1, "0");
    field(header, 257, 8, "ustar\u000000");
    const sum = header.reduce((total, byte) => total + byte, 0);
    field(header, 148, 8, `${sum.toString(8).padStart(6, "0")}\0 `);
    parts.push(header, bytes, Buffer.alloc((block - (bytes.byteLength % block)) % block));
  }
  parts.push(Buffer.alloc(2 * block));
  return gzipSync(Buffer.concat(parts));
}
