import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Ended, must, podman, run, Unavailable } from "../install/index.ts";

/** Podman with storage of its own, so that nothing of the machine is changed. */
export interface Podman {
  /** Runs `podman` with these arguments. */
  run(args: readonly string[], timeoutMs?: number): Promise<Ended>;
  /** Builds an image from the text of a Dockerfile. `contexts` are folders that `COPY --from=NAME` names. Throws with the last words of podman. */
  build(options: {
    readonly tag: string;
    readonly text: string;
    readonly context: string;
    readonly contexts?: Readonly<Record<string, string>>;
  }): Promise<void>;
  /** Removes all its containers and images. */
  close(): Promise<void>;
}

/** Exit code of podman for what went wrong in podman itself or in its runtime, and not in the container. */
export const podmanError = 125;

/** Options of a container that has no more rights than restricted Pod Security allows, on the network of this machine. */
export const restricted: readonly string[] = [
  "--network=host",
  "--read-only",
  "--cap-drop=all",
  "--security-opt=no-new-privileges",
];

/**
 * Opens podman in a folder: runc and cgroupfs, since the default of both needs a cgroup hierarchy and rights that containers and CI machines lack.
 * Throws `Unavailable` where podman does not run.
 */
export async function openPodman(folder: string): Promise<Podman> {
  const tools = await podman();
  const own = join(folder, "podman");
  await mkdir(own);
  const usr = join(tools.folder, "usr");
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(own, name), text);
    return join(own, name);
  };
  const list = (...items: readonly string[]): string => JSON.stringify(items);
  const env = {
    ...tools.env,
    HOME: own,
    CONTAINERS_CONF: await file(
      "containers.conf",
      [
        "[containers]",
        `default_ulimits = ${list("nofile=1024:1024", "nproc=1024:1024")}`,
        `init_path = ${JSON.stringify(join(usr, "bin", "catatonit"))}`,
        "[network]",
        'network_backend = "cni"',
        `cni_plugin_dirs = ${list(join(usr, "lib", "cni"))}`,
        `network_config_dir = ${JSON.stringify(join(own, "net"))}`,
        "[engine]",
        'cgroup_manager = "cgroupfs"',
        'events_logger = "none"',
        'runtime = "runc"',
        `conmon_path = ${list(join(usr, "bin", "conmon"))}`,
        `helper_binaries_dir = ${list(join(usr, "bin"), join(usr, "lib", "podman"))}`,
        "[engine.runtimes]",
        `runc = ${list(join(usr, "sbin", "runc"))}`,
        "",
      ].join("\n"),
    ),
    CONTAINERS_STORAGE_CONF: await file(
      "storage.conf",
      `[storage]\ndriver = "vfs"\nrunroot = ${JSON.stringify(join(own, "run"))}\ngraphroot = ${JSON.stringify(join(own, "graph"))}\n`,
    ),
    CONTAINERS_REGISTRIES_CONF: await file("registries.conf", "unqualified-search-registries = []\n"),
  };
  // Podman looks for this one in the user's folder.
  const containers = join(own, ".config", "containers");
  await mkdir(containers, { recursive: true });
  const policy = '{ "default": [{ "type": "insecureAcceptAnything" }] }';
  await writeFile(join(containers, "policy.json"), policy);
  const program = tools.program("podman");
  const podmanRun = (args: readonly string[], timeoutMs?: number): Promise<Ended> =>
    run(program, args, { env, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  const info = await podmanRun(["info"]);
  if (info.code !== 0) {
    throw new Unavailable(`podman does not run here: ${info.err.trim().split("\n").at(-1) ?? ""}`);
  }
  return {
    run: podmanRun,
    async build({ tag, text, context, contexts = {} }) {
      const dockerfile = await file("Dockerfile", text);
      const named = Object.entries(contexts).map(([name, path]) => `--build-context=${name}=${path}`);
      const fixed = ["--isolation=chroot", "--layers=false"];
      await must(program, ["build", ...fixed, ...named, "-f", dockerfile, "-t", tag, context], { env });
    },
    async close() {
      await podmanRun(["pod", "rm", "--all", "--force"]);
      await podmanRun(["rm", "--all", "--force", "--time", "0"]);
      await podmanRun(["rmi", "--all", "--force"]);
    },
  };
}
