import { type Json, LongshoreError } from "@longshore/core";
import {
  type Alias,
  aliasFrom,
  type AliasChange,
  askJson,
  read,
  type SideFigures,
  type StickyBy,
  type TrialFigures,
  type TrialLimits,
  type TrialMode,
  defaultTrialLimits,
} from "@longshore/core/internal";
import { httpTransport, systemClock } from "@longshore/nodejs";
import { transportShown } from "../connect/server-tls.ts";
import { type AtOptions, serversOf } from "../options/at-options.ts";
import type { CommandIo, ExitCode } from "../options/io.ts";
import { milliseconds, table } from "../options/io.ts";
import { longestLoadMs } from "../rollout/target.ts";

/** Where the aliases are. */
export interface RolloutOptions extends AtOptions {
  readonly revision?: number;
  readonly json: boolean;
}

/** Options of `longshore rollout start`. */
export interface StartOptions extends RolloutOptions {
  /** The candidate. */
  readonly to: string;
  readonly mode: TrialMode;
  readonly weight: number;
  readonly by: StickyBy;
  readonly errorFactor: number;
  readonly latencyFactor: number;
  readonly agreement: number;
  readonly minSamples: number;
}

interface Report {
  readonly alias: Alias;
  /** Null without a trial. */
  readonly figures: TrialFigures | null;
}

/** The time limit of a server's answer, and of a change, before which it loads the new target of the alias. */
const mostAnswerMs = 10_000;
const mostChangeMs = longestLoadMs + mostAnswerMs;

const sideFrom = read.fields({
  requests: read.readWhole(),
  errors: read.readWhole(),
  meanMs: read.readNumber(),
});
const figuresFrom = read.fields({
  stable: sideFrom,
  candidate: sideFrom,
  compared: read.readWhole(),
  agreed: read.readWhole(),
});

/** Asks the management of a server. Throws what it answers as an error. */
async function ask(
  options: AtOptions,
  { stop }: Pick<CommandIo, "stop">,
  path: string,
  body?: Json,
): Promise<object> {
  const [server] = await serversOf(options);
  if (!server) throw new LongshoreError("invalid-input", "resolve", "name the server with --at URL");
  const { address } = server;
  const clock = systemClock();
  const transport = httpTransport({ address, clock, ...transportShown(server) });
  try {
    const parts = { transport, clock, name: address, mostMs: body ? mostChangeMs : mostAnswerMs };
    return read.objectAt(await askJson(parts, path, body, stop), "the reply");
  } finally {
    await transport.close();
  }
}

const pathOf = (name: string): string => `/v2/rollouts/${encodeURIComponent(name)}`;

function reportFrom(value: unknown): Report {
  const object = read.objectAt(value, "report");
  const figures = read.own(object, "figures") ?? null;
  return {
    alias: aliasFrom(read.own(object, "alias"), "alias"),
    figures: figures === null ? null : figuresFrom(figures, "figures"),
  };
}

/** The figures of a trial, for people: `candidate 20, 0 failed, 5.7 ms; stable 30, 1 failed, 7.2 ms; 18 of 20 agreed`. */
function figuresText({ candidate, stable, compared, agreed }: TrialFigures): string {
  const side = (name: string, { requests, errors, meanMs }: SideFigures): string =>
    `${name} ${requests}, ${errors} failed, ${milliseconds(meanMs)}`;
  const sides = `${side("candidate", candidate)}; ${side("stable", stable)}`;
  return compared === 0 ? sides : `${sides}; ${agreed} of ${compared} agreed`;
}

/** Says where aliases lead, and how candidates do. */
export async function rolloutStatus(
  name: string | undefined,
  options: RolloutOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const answer = await ask(options, io, name === undefined ? "/v2/rollouts" : pathOf(name));
  const reports =
    name === undefined
      ? read.list(reportFrom, 1024)(read.own(answer, "aliases"), "aliases")
      : [reportFrom(answer)];
  if (options.json) {
    io.out(JSON.stringify(reports));
    return 0;
  }
  const rows = reports.map(({ alias, figures }) => {
    const { trial } = alias;
    const trying = trial
      ? `${trial.mode} ${trial.candidate.version} ${+(trial.weightRatio * 100).toFixed(3)} % by ${trial.by}`
      : "";
    return [
      alias.name,
      String(alias.revision),
      `${alias.model} ${alias.stable.version}`,
      trying,
      figures === null ? "" : figuresText(figures),
      alias.because,
    ];
  });
  io.out(table(["alias", "revision", "stable", "on trial", "seen", "because"], rows));
  return 0;
}

/** Changes an alias. Without `--revision` it is meant for the alias as it is now. */
export async function changeAlias(
  name: string,
  change: AliasChange,
  options: RolloutOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const revision = options.revision ?? (await revisionOf(name, options, io));
  io.progress(`${name}: waiting for the server, which loads the new target`);
  // A change is plain data.
  const answer = await ask(options, io, pathOf(name), { revision, change } as unknown as Json);
  const alias = read.own(answer, "alias");
  if (options.json) io.out(JSON.stringify(alias));
  else if (alias === null) io.out(`${name} is no alias any more`);
  else {
    const { because, revision: now, model, stable } = aliasFrom(alias, "alias");
    io.out(`${name} (revision ${now}) leads to ${model} ${stable.version}: ${because}`);
  }
  return 0;
}

async function revisionOf(name: string, options: RolloutOptions, io: CommandIo): Promise<number> {
  try {
    return reportFrom(await ask(options, io, pathOf(name))).alias.revision;
  } catch (thrown) {
    if (LongshoreError.is(thrown) && thrown.reason === "unknown-model") return 0;
    throw thrown;
  }
}

/** Puts a candidate on trial. */
export function startTrial(name: string, options: StartOptions, io: CommandIo): Promise<ExitCode> {
  const { to: version, mode, weight: weightRatio, by, errorFactor, latencyFactor, minSamples } = options;
  const limits: TrialLimits = {
    ...defaultTrialLimits,
    errorFactor,
    latencyFactor,
    agreementRatio: options.agreement,
    minSamples,
  };
  return changeAlias(name, { do: "start", version, mode, weightRatio, by, limits }, options, io);
}
