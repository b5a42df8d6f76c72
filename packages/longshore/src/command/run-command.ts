import { LongshoreError } from "@longshore/core";
import { Command, CommanderError, type Option } from "commander";
import { type Defining, NumberError } from "../options/define.ts";
import { type CommandIo, type ExitCode, reportFailure } from "../options/io.ts";

/** Commands that are defined together. */
export interface CommandGroup {
  readonly commands: readonly string[];
  /** Loads what defines them. */
  load(): Promise<(defining: Defining) => void>;
}

/**
 * The groups of commands, in the order in which help lists them. A command loads its own group alone: the code of all
 * takes longer to load than most commands to run.
 */
export const groups: readonly CommandGroup[] = [
  {
    commands: ["serve", "gateway", "keys"],
    load: async () => (await import("./define-serving.ts")).defineServing,
  },
  { commands: ["pick"], load: async () => (await import("../pick/define-pick.ts")).definePick },
  { commands: ["authz"], load: async () => (await import("../authz/define-authz.ts")).defineAuthz },
  { commands: ["scale"], load: async () => (await import("../scale/define-scale.ts")).defineScale },
  { commands: ["top"], load: async () => (await import("../top/define-top.ts")).defineTop },
  {
    commands: ["incident"],
    load: async () => (await import("../incident/define-incident.ts")).defineIncident,
  },
  { commands: ["config"], load: async () => (await import("./define-config.ts")).defineConfig },
  { commands: ["directory"], load: async () => (await import("./define-directory.ts")).defineDirectory },
  { commands: ["package"], load: async () => (await import("./define-package.ts")).definePackage },
  { commands: ["rollout"], load: async () => (await import("./define-rollout.ts")).defineRollout },
  { commands: ["slo"], load: async () => (await import("../slo/define-slo.ts")).defineSlo },
  { commands: ["infer", "plan"], load: async () => (await import("./define-requests.ts")).defineRequests },
  {
    commands: ["profile", "golden", "quantize", "split", "advise"],
    load: async () => (await import("./define-models.ts")).defineModels,
  },
  {
    commands: ["doctor", "simulate", "observe", "demo"],
    load: async () => (await import("./define-lab.ts")).defineLab,
  },
];

/** The program with the commands of these groups; all of them are also the source of the reference page. */
export async function defineProgram(
  { io, action }: Omit<Defining, "program">,
  chosen: readonly CommandGroup[] = groups,
): Promise<Command> {
  const program = new Command("longshore")
    .description(
      "Decides for every request where an inference runs - here, on an edge server, in a cloud, or split - and runs it there.",
    )
    .version("0.1.0")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.out(text.trimEnd()),
      writeErr: (text) => io.note(text.trimEnd()),
    });
  for (const define of await Promise.all(chosen.map((group) => group.load())))
    define({ program, io, action });
  return program;
}

/** What the placeholder of an option says of its unit. */
const units: Readonly<Record<string, string>> = {
  bytes: "bytes",
  ms: "milliseconds",
  s: "seconds",
  seconds: "seconds",
};

function optionsOf({ options, commands }: Command): readonly Option[] {
  return [...options, ...commands.flatMap(optionsOf)];
}

/** The end of the message about a number to which a unit was added: the unit of the option, as its help has it. */
function unitOf(error: CommanderError, program: Command): string {
  if (!(error instanceof NumberError) || !error.hasUnit) return "";
  const option = optionsOf(program).find(({ long }) => long === `--${error.option}`);
  const unit = units[/<(\w+)>/.exec(option?.flags ?? "")?.[1] ?? ""];
  return unit === undefined ? "; give the number alone" : `; give the number alone, in ${unit}`;
}

/** Parses the arguments, runs the command and gives the exit code: 0 done, 1 failed or "no", 2 wrong usage or input. */
export async function runCommand(args: readonly string[], io: CommandIo): Promise<ExitCode> {
  let code: ExitCode = 0;
  const action: Defining["action"] =
    <A extends unknown[]>(run: (...given: A) => Promise<ExitCode>) =>
    async (...given: A): Promise<void> => {
      const json = given.some(
        (value) => typeof value === "object" && value !== null && (value as { json?: boolean }).json === true,
      );
      try {
        code = await run(...given);
      } catch (error) {
        code = reportFailure(error, json, io);
      }
    };

  const own = groups.filter(({ commands }) => commands.includes(args[0] ?? ""));
  const program = await defineProgram({ io, action }, own.length > 0 ? own : groups);

  try {
    await program.parseAsync([...args], { from: "user" });
  } catch (error) {
    // Thrown by what reads the value of an option.
    if (LongshoreError.is(error)) return reportFailure(error, false, io);
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === "longshore.option") io.note(error.message + unitOf(error, program));
    return error.exitCode === 0 ? 0 : 2;
  }
  if (args.length === 0) return 2;
  return code;
}
