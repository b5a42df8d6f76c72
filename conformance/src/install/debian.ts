import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { installed, Unavailable } from "./cache.ts";
import { must, run } from "./run.ts";

/** Packages of Debian, unpacked into a folder: no rights are needed and nothing of the machine is changed. */
export interface DebianTools {
  readonly folder: string;
  /** The path of a program in them. */
  program(name: string): string;
  /** The environment to run their programs with: the path of their libraries. */
  readonly env: Readonly<Record<string, string>>;
}

/** Fetches packages. Without lists of what there is, they are fetched first, into the same folder. */
async function download(packages: readonly string[], folder: string): Promise<void> {
  const plain = await run("apt-get", ["download", ...packages], { cwd: folder });
  if (plain.code === 0) return;
  if (plain.code === 127) throw new Unavailable("it needs Debian's apt-get");
  const state = join(folder, "state");
  await mkdir(join(state, "lists", "partial"), { recursive: true });
  await mkdir(join(state, "cache", "archives", "partial"), { recursive: true });
  const own = ["-o", `Dir::State::Lists=${join(state, "lists")}`, "-o", `Dir::Cache=${join(state, "cache")}`];
  await must("apt-get", [...own, "update"], { cwd: folder });
  await must("apt-get", [...own, "download", ...packages], { cwd: folder });
}

/** Unpacks packages with the libraries that they need and that not every machine has. */
export async function debianTools(name: string, packages: readonly string[]): Promise<DebianTools> {
  const folder = await installed({
    name,
    contents: packages,
    async make(into) {
      const archives = join(into, "archives");
      await mkdir(archives);
      await download(packages, archives);
      for (const file of await readdir(archives)) {
        if (file.endsWith(".deb")) await must("dpkg", ["-x", join(archives, file), into]);
      }
    },
  });
  const triplet = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  return {
    folder,
    program: (program) => join(folder, "usr", "bin", program),
    env: { LD_LIBRARY_PATH: join(folder, "usr", "lib", triplet) },
  };
}
