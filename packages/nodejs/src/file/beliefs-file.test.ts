import { chmod, mkdtemp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { manualClock } from "@longshore/testkit";
import { openBeliefs } from "./beliefs-file.ts";

async function world() {
  const folder = await mkdtemp(join(tmpdir(), "longshore-beliefs-"));
  const clock = manualClock();
  const path = join(folder, "state", "beliefs.json");
  const reports: string[] = [];
  const open = (as: { readonly user?: number } = {}) =>
    openBeliefs({ path, clock, report: ({ message }) => reports.push(message), ...as });
  /** Opens, learns something of a server, closes. */
  const learn = async (id: string) => {
    const { memory, close } = await open();
    memory.follow(() => ({ servers: new Map([[id, 2]]) }));
    await close();
  };
  return { clock, path, folder, reports, open, learn };
}

it("keeps beliefs over a restart in a file that only its owner can read", async () => {
  const { path, open, learn, reports } = await world();
  await learn("a");
  await learn("b");
  if (process.platform !== "win32") expect((await stat(path)).mode & 0o777).toBe(0o600);
  const { memory } = await open();
  expect([memory.server("a")?.ratio, memory.server("b")?.ratio]).toEqual([2, 2]);
  expect(reports).toEqual([]);
});

it("keeps another process's later beliefs", async () => {
  const { open, learn } = await world();
  const first = await open();
  await learn("b");
  await first.close();
  expect((await open()).memory.server("b")?.ratio).toBe(2);
});

it("moves a torn file aside with one message, and begins again", async () => {
  const { path, folder, open, learn, reports } = await world();
  await learn("a");
  await writeFile(path, (await readFile(path, "utf8")).slice(0, -4));
  await learn("b");
  expect(reports).toEqual([expect.stringMatching(/are ignored: it is not JSON.*moved to '.*\.ignored'/)]);
  expect((await readdir(join(folder, "state"))).sort()).toEqual(["beliefs.json", "beliefs.json.ignored"]);
  expect((await open()).memory.server("a")).toBeUndefined();
});

it.each([
  [
    "another version",
    (text: string) => text.replace('"schemaVersion":1', '"schemaVersion":7'),
    "schemaVersion",
  ],
  ["the future", (text: string) => text.replaceAll(/"seenMs":\d+/g, '"seenMs":9e14'), "from the future"],
])("leaves a file of %s as it is, with one message, and keeps nothing", async (_, change, why) => {
  const { path, learn, reports } = await world();
  await learn("a");
  const changed = change(await readFile(path, "utf8"));
  await writeFile(path, changed);
  await learn("b");
  expect(reports).toEqual([expect.stringContaining(why)]);
  expect(await readFile(path, "utf8")).toBe(changed);
});

it.skipIf(!process.getuid).each([0o620, 0o602])(
  "leaves a file that others can write as it is, with one message (mode %o)",
  async (mode) => {
    const { path, open, learn, reports } = await world();
    await learn("a");
    await chmod(path, mode);
    const { memory, close } = await open();
    expect(memory.server("a")).toBeUndefined();
    await close();
    expect((await stat(path)).mode & 0o777).toBe(mode);
    expect(reports).toEqual([
      `the beliefs in '${path}' are ignored: other users can write it (mode ${mode.toString(8)}): set 600; nothing is kept until it is removed`,
    ]);
  },
);

it.skipIf(!process.getuid)("leaves a file of another user as it is, with one message", async () => {
  const { path, open, learn, reports } = await world();
  await learn("a");
  const user = process.getuid?.() ?? 0;
  const { memory, close } = await open({ user: user + 1 });
  expect(memory.server("a")).toBeUndefined();
  await close();
  expect(reports).toEqual([expect.stringContaining(`'${path}' are ignored: it belongs to another user`)]);
  expect((await open()).memory.server("a")?.ratio).toBe(2);
});

it("leaves a path that is no plain file, and says once that beliefs cannot be kept", async () => {
  const { path, folder, learn, reports } = await world();
  await writeFile(join(folder, "state"), "a file where the folder would be");
  await learn("a");
  expect(reports).toHaveLength(1);
  expect(reports[0]).toContain(`'${path}'`);
  await chmod(folder, 0o700);
});
