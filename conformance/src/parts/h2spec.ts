import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { h2spec, run } from "../install/index.ts";
import { asked, inFolder, type Part } from "./part.ts";

/** Where our HTTP/2 differs from RFC 7540, which h2spec tests, and why. */
const differences: ReadonlyMap<string, string> = new Map([
  [
    "Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE",
    "too large headers end their own call, since others share the connection",
  ],
  ["Sends HEADERS frame that depend on itself", "RFC 9113 has no priorities"],
  ["Sends PRIORITY frame that depend on itself", "RFC 9113 has no priorities"],
]);

const testcase = /<testcase package="([^"]*)" classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g;

/** The frames and streams of our gRPC port, beside the tests of HTTP/2 servers that others use. */
export const h2specPart: Part = {
  name: "h2spec",
  async run(context) {
    const { grpc } = context.server;
    if (grpc === undefined) throw new Error("the server has no gRPC port");
    const [host = "", port = ""] = grpc.split(":");
    const program = await h2spec();
    await inFolder("h2spec", async (folder) => {
      const report = join(folder, "report.xml");
      const { err } = await run(program, ["-h", host, "-p", port, "-o", "5", "-j", report]);
      const text = await readFile(report, "utf8").catch(() => "");
      const cases = [...text.matchAll(testcase)];
      if (cases.length === 0) throw new Error(`h2spec reported no case: ${err.slice(0, 200)}`);
      for (const [, section = "", name = "", inside = ""] of cases) {
        if (!asked(context, name)) continue;
        const failed = inside.includes("<failure");
        const why = differences.get(name);
        context.told({
          name: `${section} ${name}`,
          outcome: !failed || why !== undefined ? "passed" : "failed",
          detail: failed
            ? (why ??
              inside
                .replaceAll(/<[^>]*>|\s+/g, " ")
                .trim()
                .slice(0, 300))
            : "",
        });
      }
    });
  },
};
