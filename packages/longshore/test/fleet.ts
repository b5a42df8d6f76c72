import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gateway } from "../src/compose/forwarding.ts";
import { openModel } from "../src/engine/open-model.ts";
import { serve, type RunningServer } from "../src/compose/serve.ts";

/** A gateway before two servers. */
export interface Fleet {
  /** Of the gateway. */
  readonly address: string;
  readonly servers: readonly RunningServer[];
  close(): Promise<void>;
}

/** Serves all versions of the model `table` in a folder of models. */
export async function openFleet(folder: string): Promise<Fleet> {
  await writeFile(
    join(folder, "table", "config.pbtxt"),
    'name: "table"\nbackend: "onnxruntime"\nversion_policy { all { } }\n',
  );
  const { store } = await openModel(folder);
  const servers = await Promise.all(["one", "two"].map((id) => serve({ store, port: 0, id })));
  const gate = await gateway({
    port: 0,
    id: "gateway",
    dataClass: "internal",
    allowManagement: true,
    servers: servers.map((one) => one.address),
  });
  return {
    address: gate.address,
    servers,
    async close() {
      for (const one of [gate, ...servers]) await one.close(0);
    },
  };
}
