import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run, Unavailable } from "../install/index.ts";
import { asked, inFolder, lastWords, type Part } from "./part.ts";

const unit = fileURLToPath(new URL("../../../deploy/systemd/longshore@.service", import.meta.url));

/** The most exposure that `systemd-analyze security` may find, in tenths; below 2.0 it says OK. */
const mostExposureTenths = 20;

/** The units of systemd, by systemd's own check of their keys and of what they expose. */
export const unitsPart: Part = {
  name: "units",
  run: (context) =>
    inFolder("units", async (folder) => {
      const { code: missing } = await run("systemd-analyze", ["--version"]);
      if (missing !== 0) throw new Unavailable("it needs systemd-analyze");
      const check = async (name: string, ...args: readonly string[]): Promise<void> => {
        if (!asked(context, name)) return;
        const { code, out, err } = await run("systemd-analyze", args);
        // systemd only warns of keys that it does not know.
        const good = code === 0 && err.trim() === "";
        const detail = lastWords(err, out);
        context.told({ name, outcome: good ? "passed" : "failed", detail });
      };
      for (const name of ["serve", "gateway"]) {
        const file = join(folder, `longshore@${name}.service`);
        // The command is not installed where this is checked.
        const text = await readFile(unit, "utf8");
        await writeFile(file, text.replace("/usr/local/bin/longshore", process.execPath));
        await copyFile(file, join(folder, "longshore@.service"));
        await check(`longshore@${name}: keys and values`, "verify", "--man=no", file);
        await check(
          `longshore@${name}: exposure`,
          "security",
          "--offline=true",
          `--threshold=${mostExposureTenths}`,
          file,
        );
      }
    }),
};
