/**
 * `npm run bench -- NAME [--data DIR] [--json FILE] [--seed N] [--for SECONDS]`: the one way to run a bench. `--for` ends a
 * bench after that time, however far it is, and holds it to no bar: a check that it still runs. `--part NAME` runs another part of a
 * bench that has several. `--list` prints the names.
 */
import { existsSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Bench, refuseUnknown, setUp } from "./harness.ts";

/** Loads a bench. A bench of the planner should not wait for a neural network. */
type Load = () => Promise<Bench>;

/** The benches: one for each question. Of one with several parts `--part` names the one to run; the first by default. */
const benches: Readonly<Record<string, Readonly<Record<string, Load>>>> = {
  decide: {
    decide: async () => (await import("./decide.ts")).bench,
    cost: async () => (await import("./cost.ts")).bench,
    energy: async () => (await import("./energy.ts")).bench,
    reality: async () => (await import("./reality.ts")).bench,
    first: async () => (await import("./first.ts")).bench,
    jumping: async () => (await import("./jumping.ts")).bench,
    tcp: async () => (await import("./tcp.ts")).bench,
  },
  failover: {
    failover: async () => (await import("./failover.ts")).bench,
    overload: async () => (await import("./overload.ts")).bench,
    soak: async () => (await import("./soak.ts")).bench,
  },
  fast: { fast: async () => (await import("./fast.ts")).bench },
  gateway: {
    gateway: async () => (await import("./gateway.ts")).bench,
    footprint: async () => (await import("./footprint.ts")).bench,
    quotas: async () => (await import("./quotas.ts")).bench,
  },
  overhead: {
    overhead: async () => (await import("./overhead.ts")).bench,
    json: async () => (await import("./json.ts")).bench,
    size: async () => (await import("./size.ts")).bench,
  },
  pick: { pick: async () => (await import("./pick.ts")).bench },
  plan: { plan: async () => (await import("./plan.ts")).bench },
  route: {
    route: async () => (await import("./route.ts")).bench,
    fleet: async () => (await import("./fleet.ts")).bench,
  },
  scale: { scale: async () => (await import("./scale.ts")).bench },
  serve: {
    serve: async () => (await import("./serve.ts")).bench,
    listeners: async () => (await import("./listeners.ts")).bench,
  },
  split: {
    split: async () => (await import("./split.ts")).bench,
    codec: async () => (await import("./codec.ts")).bench,
    quantize: async () => (await import("./quantize.ts")).bench,
  },
};

/** Each bench with its further parts, as the command line names them. */
const commands = Object.entries(benches).flatMap(([name, parts]) =>
  Object.keys(parts).map((part, index) => (index === 0 ? name : `${name} --part ${part}`)),
);

function option(args: string[], name: string): string | undefined {
  const at = args.indexOf(`--${name}`);
  if (at < 0) return undefined;
  const [, value] = args.splice(at, 2);
  if (value === undefined) throw new Error(`--${name} needs a value`);
  return value;
}

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  if (args[0] === "--list") {
    console.log(commands.join("\n"));
    return 0;
  }
  const json = option(args, "json");
  const named = option(args, "data");
  const dataOption = named ?? process.env["LONGSHORE_DATA"] ?? "../shared/data";
  const seedOption = option(args, "seed");
  const seed = seedOption === undefined ? Math.floor(Date.now() % 2 ** 31) : Number(seedOption);
  const limit = option(args, "for");
  const limitSeconds = limit === undefined ? undefined : Number(limit);
  if (limitSeconds !== undefined && !(limitSeconds > 0)) throw new Error("--for wants a number of seconds");
  const name = args.shift();
  const parts = name === undefined ? undefined : benches[name];
  // Only where a bench has parts: others may have an option of that name.
  const part = parts && Object.keys(parts).length > 1 ? option(args, "part") : undefined;
  const load = parts && (part === undefined ? Object.values(parts)[0] : parts[part]);
  if (!load) {
    console.error(
      `usage: npm run bench -- NAME [--data DIR] [--json FILE] [--seed N] [--for SECONDS]\nbenches: ${commands.join(", ")}`,
    );
    return 2;
  }
  const bench = await load();
  refuseUnknown(bench, args);
  const data = existsSync(resolve(dataOption)) ? resolve(dataOption) : undefined;
  // A named folder must exist; the default one need not.
  if (!data && named !== undefined) throw new Error(`there is no folder ${named} (--data)`);
  const setup = setUp(seed);
  console.log(`${bench.name}: ${bench.about}`);
  console.log(
    Object.entries(setup)
      .map(([key, value]) => `${key} ${value}`)
      .join(", "),
  );
  if (limitSeconds !== undefined)
    setTimeout(() => {
      console.log(`stopped after ${limitSeconds} s; its figures need the whole run`);
      process.exit(0);
    }, limitSeconds * 1000).unref();
  const measured = await bench.run({ data, seed, args, say: (line) => console.log(line) });
  let missed = 0;
  for (const [figure, value] of Object.entries(measured.figures)) {
    const bar = bench.bars[figure];
    const kept =
      (bar?.atMost === undefined || value <= bar.atMost) &&
      (bar?.atLeast === undefined || value >= bar.atLeast);
    if (!kept && limitSeconds === undefined) missed++;
    const goal =
      bar?.atMost === undefined
        ? bar?.atLeast === undefined
          ? ""
          : `at least ${bar.atLeast}`
        : `at most ${bar.atMost}`;
    console.log(
      `  ${figure.padEnd(28)} ${Number(value.toPrecision(5))}${goal && `   (${goal}: ${kept ? "kept" : "MISSED"})`}`,
    );
  }
  for (const part of measured.notRun ?? []) console.log(`  not run: ${part}`);
  if (json) writeFileSync(json, `${JSON.stringify({ bench: bench.name, setup, ...measured }, null, 2)}\n`);
  return missed === 0 ? 0 : 1;
}

// The children of a bench end with it, also when a time limit cuts it off.
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(name, () => process.exit(1));

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  },
);
