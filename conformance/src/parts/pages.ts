import { join } from "node:path";
import { chromium } from "../install/index.ts";
import { writeRepository } from "../models.ts";
import type { Seen } from "../page/ask.ts";
import { freePort, openPage, type RunningPeer, startOwn } from "../servers/index.ts";
import { eachSelected, inFolder, type Part } from "./part.ts";

/** The view that pages of two origins had of servers with different `--pages`. */
interface Sight {
  /** `--pages` with the named page's origin, `--pages '*'`, and none. */
  readonly servers: Readonly<Record<"named" | "all" | "none", RunningPeer>>;
  readonly named: Readonly<Record<string, Seen>>;
  readonly other: Readonly<Record<string, Seen>>;
}

interface Check {
  readonly name: string;
  /** Throws what is wrong; returns what is worth telling. */
  check(sight: Sight): Promise<string> | string;
}

function at(seen: Sight["named"], server: RunningPeer): Seen {
  const found = seen[`http://${server.http}`];
  if (!found) throw new Error("the page reported nothing of this server");
  return found;
}

function expect(what: string, found: string, wanted: string): void {
  if (found !== wanted) throw new Error(`${what} is '${found}', '${wanted}' is wanted`);
}

function expectRefused(what: string, found: string): void {
  if (!found.startsWith("refused: ")) throw new Error(`${what} is '${found}'; the browser was to refuse it`);
}

async function replied(server: RunningPeer, status: number): Promise<number> {
  const text = await (await fetch(`http://${server.http}/metrics`)).text();
  return Number(new RegExp(`longshore_replies_total\\{status="${status}"\\} (\\d+)`).exec(text)?.[1] ?? 0);
}

const checks: readonly Check[] = [
  {
    name: "a page of a named origin runs a model with @longshore/web",
    check({ named, servers }) {
      const { infer, longInfer, headers } = at(named, servers.named);
      expect("the answer", infer, "right");
      expect("an answer of 8 rows", longInfer, "right");
      return `it reads the headers ${headers}`;
    },
  },
  {
    name: "a page of another origin reaches nothing",
    check({ other, servers }) {
      const seen = at(other, servers.named);
      for (const [what, found] of Object.entries(seen)) expectRefused(what, found as string);
      return seen.infer;
    },
  },
  {
    name: "without --pages no page reaches anything",
    check({ named, other, servers }) {
      for (const seen of [at(named, servers.none), at(other, servers.none)])
        for (const [what, found] of Object.entries(seen)) expectRefused(what, found as string);
      return "";
    },
  },
  {
    name: "with --pages '*' every page does",
    check({ named, other, servers }) {
      for (const seen of [at(named, servers.all), at(other, servers.all)])
        expect("the answer", seen.infer, "right");
      return "";
    },
  },
  {
    name: "a page on this machine has no rights of programs on it",
    async check({ named, other, servers }) {
      expect("a request to manage models", at(named, servers.named).manage, "403");
      for (const seen of [named, other])
        expect("a request to manage models", at(seen, servers.all).manage, "403");
      // The opaque request of each page for metrics, and those to manage models that the browser sent without a preflight.
      const refusals = await replied(servers.none, 403);
      if (refusals < 4) throw new Error(`${refusals} requests were refused; 4 are wanted`);
      return `${refusals} refused, those without an origin among them`;
    },
  },
  {
    name: "credentials of the browser are refused, and * is never sent",
    async check({ named, other, servers }) {
      expectRefused("a request with cookies", at(named, servers.named).withCookies);
      for (const seen of [named, other])
        expectRefused("a request with cookies", at(seen, servers.all).withCookies);
      for (const server of [servers.named, servers.all]) {
        const { headers } = await fetch(`http://${server.http}/v2/models/simple`, {
          headers: { origin: "http://app.example" },
        });
        if (headers.get("access-control-allow-origin") === "*")
          throw new Error("access-control-allow-origin: *");
        if (headers.has("access-control-allow-credentials")) throw new Error("it allows credentials");
      }
      return "";
    },
  },
];

/** Web pages in Chromium: one of an origin that `--pages` names, and one of another. */
export const pagesPart: Part = {
  name: "pages",
  async run(context) {
    await chromium();
    await inFolder("pages", async (folder, open) => {
      const repository = join(folder, "models");
      await writeRepository(repository);
      const port = await freePort();
      const start = async (...args: string[]): Promise<RunningPeer> => {
        const server = await startOwn({ repository, args });
        open.push(server);
        return server;
      };
      const servers = {
        named: await start("--pages", `http://app.example:${port}`),
        all: await start("--pages", "*"),
        none: await start(),
      };
      const addresses = Object.values(servers).map(({ http }) => `http://${http}`);
      const view = async (host: string): Promise<Sight["named"]> =>
        (await openPage(host, port, addresses)) as Sight["named"];
      const sight = { servers, named: await view("app.example"), other: await view("other.example") };
      await eachSelected(context, checks, async ({ name, check }) => {
        try {
          context.told({ name, outcome: "passed", detail: await check(sight) });
        } catch (thrown) {
          const detail = thrown instanceof Error ? thrown.message : String(thrown);
          context.told({ name, outcome: "failed", detail });
        }
      });
    });
  },
};
