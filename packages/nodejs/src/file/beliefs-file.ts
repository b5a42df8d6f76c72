import { lstat, mkdir, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { type Clock, LongshoreError } from "@longshore/core";
import { beliefsFrom, type BeliefState, KeptBeliefs } from "@longshore/core/internal";
import { replaceFile } from "./replace-file.ts";

/** Bits of a mode that let other users write: what they put there would decide where this user's requests go. */
const othersWrite = 0o022;
/** A larger file was not written here. */
const maxBytes = 4 * 2 ** 20;
/** Beliefs change slowly: this often they are written down, in milliseconds, and when they are closed. */
const saveEveryMs = 300_000;

/** Where beliefs are kept. */
export interface BeliefsFileParts {
  readonly path: string;
  readonly clock: Clock;
  /** Called once for each cause when a file is ignored or could not be written. */
  readonly report: (error: LongshoreError) => void;
  /** The user that the file must belong to. Default: the user of the process; undefined where the system has none. */
  readonly user?: number | undefined;
}

/** Beliefs that a file keeps over a restart. */
export interface OpenBeliefs {
  readonly memory: KeptBeliefs;
  /** Writes them down for the last time. Idempotent; never rejects. */
  close(): Promise<void>;
}

/** Why a file is not used, and whether it is moved out of the way: one that another program, version or time may read stays where it is. */
class Ignored extends Error {
  readonly torn: boolean;

  constructor(message: string, torn = false) {
    super(message);
    this.torn = torn;
  }
}

function codeOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : undefined;
}

async function load(
  path: string,
  user: number | undefined,
  wallMs: number,
): Promise<BeliefState | undefined> {
  let found: Awaited<ReturnType<typeof lstat>>;
  try {
    found = await lstat(path);
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return undefined;
    throw new Ignored(codeOf(thrown) ?? "it cannot be read");
  }
  if (!found.isFile()) throw new Ignored("it is not a plain file");
  if (user !== undefined && found.uid !== user) throw new Ignored("it belongs to another user");
  if (user !== undefined && (found.mode & othersWrite) !== 0)
    throw new Ignored(`other users can write it (mode ${(found.mode & 0o777).toString(8)}): set 600`);
  if (found.size > maxBytes) throw new Ignored(`it has ${found.size} bytes, more than ${maxBytes}`);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch (thrown) {
    if (thrown instanceof SyntaxError) throw new Ignored("it is not JSON: it may be torn", true);
    throw new Ignored(codeOf(thrown) ?? "it cannot be read");
  }
  try {
    return beliefsFrom(value, wallMs);
  } catch (thrown) {
    throw new Ignored(LongshoreError.from(thrown, "resolve", "reading beliefs").message);
  }
}

/**
 * Opens the file of beliefs about links, servers and this device. Only its owner can read it; it is replaced whole. A file that is torn is moved to
 * `<path>.ignored`; one that belongs to another user or that others can write, has another version or is from the future stays untouched, and this process keeps
 * nothing. Either is reported, and the beliefs are empty.
 *
 * @example
 * ```ts
 * import { openBeliefs, systemClock } from "@longshore/nodejs";
 *
 * const report = (error: Error): void => console.error(error.message);
 * const beliefs = await openBeliefs({ path: "beliefs.json", clock: systemClock(), report });
 * console.log(beliefs.memory.link("edge http://edge:8000")); // undefined
 * await beliefs.close();
 * ```
 */
export async function openBeliefs({
  path,
  clock,
  report,
  user = process.getuid?.(),
}: BeliefsFileParts): Promise<OpenBeliefs> {
  const failed = (what: string, thrown: unknown): LongshoreError => {
    const why = thrown instanceof Error ? thrown.message : "it cannot be used";
    const text = `the beliefs in '${path}' ${what}: ${why}`;
    return new LongshoreError("invalid-configuration", "resolve", text, { cause: thrown });
  };
  let before: BeliefState | undefined;
  let writes = true;
  try {
    before = await load(path, user, clock.wallMs());
  } catch (thrown) {
    writes = thrown instanceof Ignored && thrown.torn;
    const moved = writes ? `; it is moved to '${path}.ignored'` : "; nothing is kept until it is removed";
    report(failed("are ignored", new Error(`${(thrown as Error).message}${moved}`)));
    if (writes) await rename(path, `${path}.ignored`).catch(() => undefined);
  }
  const memory = new KeptBeliefs(clock, before);
  let reported = false;
  const save = async (): Promise<void> => {
    if (!writes) return;
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      const others = await load(path, user, clock.wallMs());
      await replaceFile(path, JSON.stringify(memory.state(others)));
    } catch (thrown) {
      if (!reported) report(failed("cannot be kept", thrown));
      reported = true;
    }
  };
  let saving = Promise.resolve();
  const timer = setInterval(() => {
    saving = saving.then(save);
  }, saveEveryMs);
  // Beliefs are no reason for a process to go on.
  timer.unref();
  let closed: Promise<void> | undefined;
  return {
    memory,
    close() {
      clearInterval(timer);
      closed ??= saving.then(save);
      return closed;
    },
  };
}
