import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningPeer, startOwn } from "@longshore/conformance";
import { float32Tensor, tensorsOf } from "@longshore/core";
import { goldenFile, goldenText } from "@longshore/core/internal";
import { meanOfRow, runningTotal, runningTotalConfig } from "../load/models.ts";
import { jumpingClock, type Victim } from "./faults.ts";
import { meddler } from "./meddler.ts";
import { smallDisk } from "./small-disk.ts";

/** Servers that something may happen to. */
export interface Fleet extends AsyncDisposable {
  /** Models of the servers, with golden inputs of one of them. */
  readonly repository: string;
  readonly victims: readonly Victim[];
  /** Whether each has a disk of its own that can be filled. */
  readonly disk: boolean;
}

/** One golden input of the model, as the command writes it. */
function golden(repository: string): void {
  const x = float32Tensor("x", [1, 4], Float32Array.of(1, 2, 3, 6));
  const pair = {
    name: "1",
    inputs: tensorsOf(x),
    outputs: tensorsOf(float32Tensor("y", [1, 1], Float32Array.of(3))),
  };
  writeFileSync(
    join(repository, "mean", "1", goldenFile),
    goldenText({ dataClass: "public", pairs: [pair] }),
  );
}

function models(repository: string): void {
  mkdirSync(join(repository, "mean", "1"), { recursive: true });
  writeFileSync(join(repository, "mean", "1", "model.onnx"), meanOfRow());
  mkdirSync(join(repository, "total", "1"), { recursive: true });
  writeFileSync(join(repository, "total", "1", "model.onnx"), runningTotal());
  writeFileSync(join(repository, "total", "model.yaml"), runningTotalConfig);
  golden(repository);
}

/** Starts `count` servers. The log of each is on a small disk of its own, where one may be had, and their clocks can be moved. */
export async function openFleet(count: number): Promise<Fleet> {
  const folder = mkdtempSync(join(tmpdir(), "longshore-bench-failover-"));
  const disks: NonNullable<ReturnType<typeof smallDisk>>[] = [];
  const opened: RunningPeer[] = [];
  const victims: Victim[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(opened.map((one) => one.close()));
    await Promise.all(victims.map(({ before }) => before[Symbol.asyncDispose]()));
    rmSync(folder, { recursive: true, force: true });
    for (const disk of disks) disk[Symbol.dispose]();
  };
  try {
    const repository = join(folder, "models");
    models(repository);
    const env = { NODE_OPTIONS: `--import=${jumpingClock}` };
    for (let index = 0; index < count; index++) {
      const disk = smallDisk();
      if (disk) disks.push(disk);
      const logged = disk
        ? { args: ["--log-level", "verbose"], errorsTo: join(disk.folder, "log") }
        : { args: ["--log-level", "none"] };
      const server = await startOwn({ repository, env, ...logged });
      opened.push(server);
      if (!server.pid) throw new Error("a server has no process");
      victims.push({ pid: server.pid, before: await meddler(server.http), disk: disk?.folder });
    }
    return {
      repository,
      victims,
      disk: disks.length === count,
      [Symbol.asyncDispose]: close,
    };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}
