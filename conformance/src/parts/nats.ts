import { fileURLToPath } from "node:url";
import { natsServer, run } from "../install/index.ts";
import { asked, lastWords, type Part } from "./part.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** The directory and the packages in a real nats-server, with an edge site as a leaf node. */
export const natsPart: Part = {
  name: "nats",
  async run(context) {
    const name = "directory, packages, leaf node, a fleet and publishing by command in a real nats-server";
    if (!asked(context, name)) return;
    const program = await natsServer();
    const { code, out, err } = await run(
      "npx",
      ["vitest", "run", "adapters/nats", "nats-directory", "nats-fleet", "nats-publish", "--reporter=dot"],
      {
        cwd: root,
        env: { LONGSHORE_NATS_SERVER: program, NO_COLOR: "1", FORCE_COLOR: "0" },
      },
    );
    const passed = /Tests .*?(\d+) passed/.exec(out)?.[1];
    context.told(
      code === 0
        ? { name, outcome: "passed", detail: `${passed ?? "?"} tests` }
        : { name, outcome: "failed", detail: lastWords(out, err) },
    );
  },
};
