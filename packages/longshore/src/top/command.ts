import { type Clock, LongshoreError } from "@longshore/core";
import { sleep } from "@longshore/core/internal";
import { httpTransport, systemClock } from "@longshore/nodejs";
import { transportShown } from "../connect/server-tls.ts";
import { serversOf } from "../options/at-options.ts";
import type { ShownOptions } from "../options/connection-options.ts";
import type { CommandIo, ExitCode, Terminal } from "../options/io.ts";
import { type Figures, figuresBetween } from "./figures.ts";
import { type Line, type Order, orders, screenLines } from "./screen.ts";
import { type Scrape, scraper } from "./scrape.ts";

/** Options of `longshore top`. */
export interface TopOptions extends ShownOptions<"at"> {
  readonly at: string;
  /** Seconds between two looks. */
  readonly every: number;
  /** Looks until the command ends. Default: until it is stopped on a terminal, else 1. */
  readonly count?: number;
  readonly sort: Order;
  /** Counts since the server's start in place of rates. */
  readonly total: boolean;
  /** Lines without control sequences also on a terminal. */
  readonly plain: boolean;
  readonly json: boolean;
}

/** The settings that keys change. */
interface View {
  order: Order;
  total: boolean;
  paused: boolean;
  help: boolean;
}

const keyLine = "q quit   space pause   t totals   s sort   r look now   ? help";

const helpLines: readonly string[] = [
  "q, Ctrl-C  end",
  "space      stop looking, and go on",
  "t          rates since the look before, or counts since the server's start",
  "s          sort tables by rate, time, cost or name",
  "r          look now",
  "?          this list",
  "",
  "WHO ASKS       requests by tenant; micros are 1e-6 of the operator's currency",
  "MODELS         time from arrival to answer; mean time in queues",
  "               waiting: requests that wait for their first run",
  "WHERE IT GOES  parts of requests sent to endpoints; time on the way included",
  "               won: its answer was used; lost: another answer was there first",
  "FAILURES       by reason and stage (docs/reference/errors.md)",
];

/** JSON has no NaN: what is not known is null. */
function jsonOf(figures: Figures, address: string, wallMs: number): string {
  const value = { time: new Date(wallMs).toISOString(), address, ...figures };
  return JSON.stringify(value, (_, one: unknown) =>
    typeof one === "number" && !Number.isFinite(one) ? null : one,
  );
}

const styles: Readonly<Record<Line["look"], string>> = {
  plain: "",
  title: "\u001b[1m",
  head: "\u001b[2m",
  warning: "\u001b[1;31m",
  keys: "\u001b[7m",
};

/** Writes a whole screen over the one before, without clearing it first, so that nothing flickers. */
function draw(terminal: Terminal, lines: readonly Line[], colours: boolean): void {
  const { rows } = terminal.size();
  const text = lines.slice(0, rows).map(({ text: line, look }) => {
    const style = colours ? styles[look] : "";
    return `${style}${line}${style === "" ? "" : "\u001b[0m"}\u001b[K`;
  });
  terminal.write(`\u001b[H${text.join("\r\n")}\u001b[J`);
}

/** The lines of a screen: figures, or what went wrong, and the keys in the last line. */
function lookOf(
  terminal: Terminal,
  view: View,
  state: {
    readonly figures: Figures | undefined;
    readonly problem: string | undefined;
    readonly address: string;
  },
): readonly Line[] {
  const { columns, rows } = terminal.size();
  const { figures, problem, address } = state;
  const notes = [
    view.paused ? "paused" : "",
    view.total ? "since the start" : "",
    view.order === "rate" ? "" : `by ${view.order}`,
  ];
  const note = notes.filter((one) => one !== "").join(", ");
  const body: readonly Line[] = view.help
    ? helpLines.map((text) => ({ text: text.slice(0, columns), look: "plain" }))
    : figures
      ? screenLines(figures, {
          columns,
          rows: rows - 1,
          order: view.order,
          note,
          address,
          ...(problem === undefined ? {} : { problem }),
        })
      : [
          {
            text: (problem === undefined ? `looking at ${address} ...` : `NO ANSWER: ${problem}`).slice(
              0,
              columns,
            ),
            look: "warning",
          },
        ];
  const filled = body.slice(0, rows - 1);
  while (filled.length < rows - 1) filled.push({ text: "", look: "plain" });
  return [...filled, { text: keyLine.slice(0, columns), look: "keys" }];
}

/** Shows one server until it is stopped. */
async function live(
  terminal: Terminal,
  look: (stop: AbortSignal) => Promise<Scrape>,
  options: TopOptions,
  io: CommandIo,
  clock: Clock,
): Promise<ExitCode> {
  const view: View = { order: options.sort, total: options.total, paused: false, help: false };
  const colours = (io.environment["NO_COLOR"] ?? "") === "";
  const ended = new AbortController();
  const end = (): void => ended.abort(new LongshoreError("cancelled", "execute", "top was ended"));
  io.stop.addEventListener("abort", end, { once: true });
  if (io.stop.aborted) end();
  let before: Scrape | undefined;
  let now: Scrape | undefined;
  let problem: string | undefined;
  let wake = (): void => undefined;
  const redraw = (): void => {
    const figures = now && figuresBetween(view.total ? undefined : before, now);
    // A rate needs two looks.
    const known = view.total || before ? figures : undefined;
    draw(terminal, lookOf(terminal, view, { figures: known, problem, address: options.at }), colours);
  };
  const keys: Readonly<Record<string, () => void>> = {
    q: end,
    "\u0003": end,
    " ": () => {
      view.paused = !view.paused;
      wake();
    },
    t: () => (view.total = !view.total),
    s: () => (view.order = orders[(orders.indexOf(view.order) + 1) % orders.length] ?? "rate"),
    r: () => wake(),
    "?": () => (view.help = !view.help),
    h: () => (view.help = !view.help),
  };
  using _keys = terminal.onKey((key) => {
    keys[key]?.();
    if (!ended.signal.aborted) redraw();
  });
  using _resize = terminal.onResize(redraw);
  // Another screen, so that the one before is there again afterwards, and no cursor.
  terminal.write("\u001b[?1049h\u001b[?25l");
  try {
    redraw();
    for (let left = options.count ?? Infinity; left > 0 && !ended.signal.aborted;) {
      if (!view.paused) {
        try {
          const next = await look(ended.signal);
          [before, now] = [now, next];
          problem = undefined;
          if (before) left--;
        } catch (thrown) {
          if (ended.signal.aborted) break;
          problem = LongshoreError.from(thrown, "transport", "looking at the server").message;
        }
        redraw();
      }
      if (left <= 0) break;
      // The first rates come soon.
      const pauseMs = now && !before ? Math.min(1000, options.every * 1000) : options.every * 1000;
      const woken = new Promise<void>((resolve) => (wake = resolve));
      await Promise.race([woken, sleep(clock, pauseMs, ended.signal)]).catch(() => undefined);
    }
    return 0;
  } finally {
    terminal.write("\u001b[?25h\u001b[?1049l");
    io.stop.removeEventListener("abort", end);
  }
}

/** Prints looks one below the other, for pipes and files. */
async function printed(
  look: (stop: AbortSignal) => Promise<Scrape>,
  options: TopOptions,
  io: CommandIo,
  clock: Clock,
): Promise<ExitCode> {
  const { at: address, every, count = 1, total, sort: order, json } = options;
  let before = await look(io.stop);
  for (let left = count; left > 0; left--) {
    const isFirstTotal = total && left === count;
    try {
      if (!isFirstTotal) await sleep(clock, every * 1000, io.stop);
    } catch {
      // It was stopped between two looks.
      return 0;
    }
    const now = isFirstTotal ? before : await look(io.stop);
    const figures = figuresBetween(total ? undefined : before, now);
    before = now;
    if (json) io.out(jsonOf(figures, address, clock.wallMs()));
    else {
      const note = total ? "since the start" : `over ${every} s`;
      const lines = screenLines(figures, { columns: Infinity, order, note, address });
      io.out([...lines.map(({ text }) => text), ...(left > 1 ? [""] : [])].join("\n"));
    }
  }
  return 0;
}

/** Shows the senders of a server, where requests go, what waits and what it costs: live on a terminal, as lines elsewhere. */
export async function top(options: TopOptions, io: CommandIo): Promise<ExitCode> {
  const [server] = await serversOf({ ...options, at: [options.at] });
  if (!server) return 2;
  const clock = systemClock();
  const transport = httpTransport({ address: server.address, clock, ...transportShown(server) });
  const look = scraper(transport, clock, server.address);
  try {
    const { terminal } = io;
    const isLive = terminal !== undefined && !options.json && !options.plain;
    return await (isLive ? live(terminal, look, options, io, clock) : printed(look, options, io, clock));
  } finally {
    await transport.close();
  }
}
