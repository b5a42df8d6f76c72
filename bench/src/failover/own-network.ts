import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import type { Server } from "node:net";

/**
 * A network with one address, on the other end of a virtual cable. A process that enters it briefly opens the port there and
 * hands it over, so that all its bytes come through the cable, though it is served in this process. Without the cable packets
 * vanish both ways: nothing is acknowledged, refused or reset, and no connection comes about.
 */
export interface OwnNetwork extends Disposable {
  readonly host: string;
  /** A port there, whose connections come to this process. */
  listen(): Promise<Server>;
  /** Takes the cable away, or puts it back. */
  cut(away: boolean): void;
}

const ip = "/usr/sbin/ip";
const opener = `
import { createServer } from "node:net";
const server = createServer().listen(0, process.argv[1], () => process.send("", server));
process.on("disconnect", () => process.exit());
`;

let made = 0;

/** Undefined where this user may not have one. Addresses are of a range that is set apart for measurements (RFC 2544). */
export function ownNetwork(): OwnNetwork | undefined {
  const name = `ls-${process.pid}-${made}`;
  const [near, far] = [`ls${process.pid}n${made}`, `ls${process.pid}f${made}`];
  const [own, host] = [1, 2].map((last) => `198.18.${process.pid % 256}.${(made * 4 + last) % 256}`);
  made++;
  const run = (...args: readonly string[]): string => execFileSync(ip, args, { stdio: "pipe" }).toString();
  const dispose = (): void => {
    // With its network an end of the cable goes, and the other one with it.
    run("netns", "del", name);
  };
  if (own === undefined || host === undefined) return undefined;
  try {
    run("netns", "add", name);
  } catch {
    return undefined;
  }
  try {
    run("link", "add", near, "type", "veth", "peer", "name", far, "netns", name);
    run("address", "add", `${own}/30`, "dev", near);
    run("-n", name, "address", "add", `${host}/30`, "dev", far);
    run("-n", name, "link", "set", far, "up");
    run("link", "set", near, "up");
    // Permanent: otherwise the system would find out by itself that there is no host.
    const [{ address = "" } = {}] = JSON.parse(run("-n", name, "-json", "link", "show", far)) as {
      readonly address?: string;
    }[];
    run("neighbour", "replace", host, "lladdr", address, "dev", near, "nud", "permanent");
  } catch {
    dispose();
    return undefined;
  }
  return {
    host,
    async listen() {
      const inside = ["netns", "exec", name, process.execPath, "--input-type=module", "-e", opener, host];
      const child = spawn(ip, inside, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
      const over = once(child, "exit").then(() => undefined);
      const came = await Promise.race([once(child, "message"), over]);
      if (!came) throw new Error(`nothing could listen at ${host}`);
      child.disconnect();
      // As long as it is there, connections come to it, too.
      await over;
      const [, server] = came as [string, Server];
      return server;
    },
    cut: (away) => void execFile(ip, ["-n", name, "link", "set", far, away ? "down" : "up"]),
    [Symbol.dispose]: dispose,
  };
}
