/**
 * The repository checks itself: rules that lint cannot express, about modules, banned calls, reasons and dead files, are a
 * test.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { reasons } from "@longshore/core";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** Modules of core (by layer), engine and longshore, in the order in which they may import: only those above them in their list. */
const modulesOf: Readonly<Record<string, readonly string[]>> = {
  core: [
    "words/base",
    "words/tensor",
    "words/json",
    "words/estimate",
    "words/model",
    "words/codec",
    "wire/protocol",
    "wire/body",
    "wire/transport",
    "wire/endpoint",
    "wire/oip",
    "fleet/signed",
    "fleet/directory",
    "fleet/package",
    "decide/estimate",
    "decide/table",
    "decide/goal",
    "decide/policy",
    "decide/plan",
    "decide/scale",
    "offload/models",
    "offload/endpoints",
    "offload/probe",
    "offload/steps",
    "offload/check",
    "offload/knowledge",
    "offload/sequence",
    "offload/rollout",
    "offload/frames",
    "offload/account",
    "offload/offloader",
    "offload/race",
    "offload/face",
  ],
  engine: [
    "geometry",
    "transform",
    "lane",
    "runtime",
    "sequence",
    "configuration",
    "repository",
    "schedule",
    "run",
    "execute",
  ],
  // Its folders are read from inside: none has an `index.ts`.
  longshore: [
    "model-file",
    "rollout",
    "settings",
    "engine",
    "connect",
    "package",
    "compose",
    "options",
    "configuration",
    "incident",
    "inputs",
    "observe",
    "pick",
    "publish",
    "slo",
    "top",
    "authz",
    "profile",
    "scale",
    "advise",
    "check",
    "demo",
    "quantize",
    "simulate",
    "placement",
    "command",
  ],
};

function filesUnder(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (["node_modules", "dist", ".cache", ".git"].includes(entry.name)) return [];
    // Models that were prepared, not sources.
    if (path === join(root, "samples", "repository")) return [];
    return entry.isDirectory() ? filesUnder(path) : [path];
  });
}

const sources = [
  ...filesUnder(join(root, "packages")),
  ...filesUnder(join(root, "samples")),
  ...filesUnder(join(root, "bench")),
]
  .filter((path) => path.endsWith(".ts") && !path.endsWith("_pb.ts") && !path.endsWith(".d.ts"))
  .map((path) => ({
    path: relative(root, path),
    text: readFileSync(path, "utf8"),
    test: path.endsWith(".test.ts"),
  }));

/** Sources that modules and banned calls do not concern. */
const others = ["adapters", "conformance", "tools", "examples"].flatMap((folder) =>
  filesUnder(join(root, folder))
    .filter((path) => /\.(?:ts|mjs)$/.test(path))
    .map((path) => ({ path: relative(root, path), text: readFileSync(path, "utf8") })),
);

const withoutComments = (text: string): string => text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");

const imports = (text: string): string[] =>
  [...text.matchAll(/(?:^|\n)\s*(?:import|export)\b[^;"']*?from\s*["']([^"']+)["']/g)].map(
    (match) => match[1] ?? "",
  );

interface Module {
  readonly order: readonly string[];
  readonly name: string;
  readonly hasIndex: boolean;
}

/** The module that holds a source file; undefined for files of a package without modules. */
function moduleOf(path: string): Module | undefined {
  const [, owner = "", inside = ""] = /^packages\/([^/]+)\/src\/(.+)$/.exec(path) ?? [];
  const order = modulesOf[owner];
  // The entry point of the package stands above all modules.
  if (!order || !inside.includes("/")) return undefined;
  const depth = owner === "core" ? 2 : 1;
  const name = inside.split("/").slice(0, depth).join("/");
  return { order, name, hasIndex: owner !== "longshore" };
}

/** The source file that a relative import leads to, from the root of the repository. */
const targetOf = (path: string, target: string): string =>
  relative(root, resolve(root, dirname(path), target));

describe("modules", () => {
  const inModules = sources.flatMap(({ path, text, test }) => {
    const own = test ? undefined : moduleOf(path);
    return own ? [{ path, own, targets: imports(text).filter((target) => target.startsWith(".")) }] : [];
  });

  it("import only modules above them in the order", () => {
    const wrong = inModules.flatMap(({ path, own: { order, name }, targets }) => {
      if (!order.includes(name)) return [`${path} is in a module that is not in the list of modules`];
      return targets
        .filter((target) => {
          const other = moduleOf(targetOf(path, target));
          return other !== undefined && order.indexOf(other.name) > order.indexOf(name);
        })
        .map((target) => `${path} imports ${target}`);
    });
    expect(wrong).toEqual([]);
  });

  it("are imported by their index.ts", () => {
    const wrong = inModules.flatMap(({ path, own, targets }) =>
      targets
        .filter((target) => {
          const other = moduleOf(targetOf(path, target));
          return other?.hasIndex === true && other.name !== own.name && !target.endsWith("/index.ts");
        })
        .map((target) => `${path} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it("every package depends only on packages that the import law allows", () => {
    const law: Record<string, string[]> = {
      core: [],
      engine: ["core"],
      graph: ["core", "engine"],
      nodejs: ["core", "engine"],
      web: ["core", "engine"],
      server: ["core", "engine"],
      grpc: ["core"],
      lab: ["core", "engine"],
    };
    for (const [name, allowed] of Object.entries(law)) {
      const manifest = JSON.parse(readFileSync(join(root, "packages", name, "package.json"), "utf8")) as {
        dependencies?: Record<string, string>;
      };
      const own = Object.keys(manifest.dependencies ?? {}).filter((dependency) =>
        dependency.startsWith("@longshore/"),
      );
      expect(
        own.filter((dependency) => !allowed.includes(dependency.slice("@longshore/".length))),
        name,
      ).toEqual([]);
    }
  });

  it("nothing depends on the fault simulator, which may depend on every package", () => {
    const manifests = filesUnder(root).filter((path) => path.endsWith("/package.json"));
    const wrong = manifests.filter((path) => {
      if (path.includes("/fault-simulator/")) return false;
      const manifest = JSON.parse(readFileSync(path, "utf8")) as Record<string, object | undefined>;
      const all = { ...manifest["dependencies"], ...manifest["devDependencies"] };
      return "@longshore/fault-simulator" in all;
    });
    expect(wrong).toEqual([]);
  });
});

describe("exports of core", () => {
  /** Names that an entry point of core lists. */
  const listed = (file: string): string[] => {
    const text = readFileSync(join(root, "packages/core/src", file), "utf8").replaceAll(
      /\/\*[\s\S]*?\*\//g,
      "",
    );
    expect(text).not.toMatch(/export \*/);
    return [...text.matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, names = ""]) =>
      names
        .split(",")
        .map((name) => name.trim().replace(/^type /, ""))
        .filter((name) => name !== ""),
    );
  };
  const open = listed("index.ts");
  const internal = listed("internal.ts");

  it("an app sees at most 200 names, each from one of the two entry points", () => {
    expect(open.length).toBeLessThanOrEqual(200);
    expect(internal.filter((name) => open.includes(name))).toEqual([]);
  });

  it("every internal name is used by another package", () => {
    const used = new Set(
      [...sources, ...others]
        .flatMap(({ text }) => [...text.matchAll(/\{([^{}]*)\} from "@longshore\/core\/internal"/g)])
        .flatMap(([, names = ""]) =>
          names.split(",").map(
            (name) =>
              name
                .trim()
                .replace(/^type /, "")
                .split(" ")[0],
          ),
        ),
    );
    expect(internal.filter((name) => !used.has(name))).toEqual([]);
  });

  it("pages and examples import nothing internal", () => {
    const pages = filesUnder(root).filter((path) => /\.md$|^examples\//.test(relative(root, path)));
    const wrong = pages.filter((path) =>
      /from "@longshore\/core\/internal"/.test(readFileSync(path, "utf8")),
    );
    expect(wrong.map((path) => relative(root, path))).toEqual([]);
  });
});

describe("banned calls", () => {
  const banned: readonly [RegExp, string][] = [
    [/\bDate\.now\(/, "Date.now"],
    [/\bnew Date\(\)/, "new Date()"],
    [/\bperformance\.now\(/, "performance.now"],
    [/\bMath\.random\(/, "Math.random"],
    [/\brandomUUID\(/, "randomUUID"],
    [/\bAbortSignal\.timeout\(/, "AbortSignal.timeout"],
    [/(?<![.\w])set(?:Timeout|Interval|Immediate)\(/, "a bare timer"],
    [/(?<![.\w])fetch\(/, "a bare fetch"],
  ];
  it("core, engine, graph and server take time, chance and sockets from their parts", () => {
    const wrong = sources
      .filter(({ path, test }) => !test && /^packages\/(core|engine|graph|server|grpc)\/src\//.test(path))
      .filter(({ path }) => !/^packages\/(server\/src\/listen|grpc\/src\/(listen|frame|ask))\//.test(path))
      .flatMap(({ path, text }) => {
        const code = withoutComments(text);
        return banned.filter(([pattern]) => pattern.test(code)).map(([, name]) => `${path} calls ${name}`);
      });
    expect(wrong).toEqual([]);
  });

  it("only server/listen imports node: in server, and core, engine and graph never do", () => {
    const wrong = sources
      .filter(({ path, test }) => !test && /^packages\/(core|engine|graph|web|server|grpc)\/src\//.test(path))
      .filter(({ path }) => !/^packages\/(server\/src\/listen|grpc\/src\/(listen|frame|ask))\//.test(path))
      .filter(({ text }) => imports(text).some((target) => target.startsWith("node:")))
      .map(({ path }) => path);
    expect(wrong).toEqual([]);
  });

  it("no test is skipped for good or focused, and no task is left in comments", () => {
    const wrong = sources.flatMap(({ path, text, test }) => {
      const found: string[] = [];
      if (test && /\b(?:it|test|describe)\.(?:only|todo)\b/.test(text))
        found.push(`${path} focuses or postpones a test`);
      if (/\b(?:TODO|FIXME|XXX)\b/.test(text)) found.push(`${path} leaves something open`);
      return found;
    });
    expect(wrong).toEqual([]);
  });

  it("no test casts a part of an object to its type, or counts calls by a mock", () => {
    const wrong = sources
      .filter(({ path, test }) => test || path.startsWith("packages/testkit/"))
      .filter(({ path }) => !path.endsWith("/untyped.ts"))
      .filter(({ text }) =>
        /\bas (?:unknown as|never\b|any\b)|\bvi\.(?:spyOn|fn|mock)\(/.test(withoutComments(text)),
      )
      .map(({ path }) => path);
    expect(wrong).toEqual([]);
  });
});

describe("reasons", () => {
  it("every reason is produced by a test", () => {
    // A test names a reason where it expects it: in `reason: "..."`, as an argument, or in a table of cases. Strings of
    // test files are all of these, and a test that only mentions a reason would be an odd one.
    const tests = sources
      .filter(({ test, path }) => test || path.startsWith("packages/testkit/"))
      .map(({ text }) => text)
      .join("\n");
    expect(Object.keys(reasons).filter((reason) => !tests.includes(`"${reason}"`))).toEqual([]);
  });
});

describe("sizes", () => {
  it("git holds no file above 3 MB", () => {
    const listed = execFileSync("git", ["ls-tree", "-r", "-l", "HEAD"], { cwd: root, encoding: "utf8" });
    const large = listed.split("\n").filter((line) => Number(line.split(/\s+/)[3]) > 3_000_000);
    expect(large).toEqual([]);
  });
});

describe("dead files", () => {
  it("every source file is reached from an entry point or a worker's address", () => {
    const reached = new Set<string>();
    const known = new Set(sources.map(({ path }) => path));
    const entries = sources
      .filter(
        ({ path, test }) =>
          test ||
          /^packages\/[^/]+\/src\/[^/]+\.ts$/.test(path) ||
          path.endsWith("/src/index.ts") ||
          path === "bench/src/run.ts" ||
          path.endsWith("command/main.ts") ||
          /^samples\/src\/(?:prepare|measure|make-|train-)/.test(path),
      )
      .map(({ path }) => path);
    const queue = [...entries];
    while (queue.length > 0) {
      const path = queue.pop() ?? "";
      if (reached.has(path)) continue;
      reached.add(path);
      const text = sources.find((source) => source.path === path)?.text ?? "";
      const targets = [...text.matchAll(/["'](\.{1,2}\/[^"']+?)\.(?:ts|js)["']/g)].map(
        (match) => `${match[1]}.ts`,
      );
      for (const target of targets) {
        const file = relative(root, resolve(root, dirname(path), target));
        if (known.has(file)) queue.push(file);
      }
      for (const name of text.matchAll(/["']([a-z-]+)\.js["']/g)) {
        const file = `${dirname(path)}/${name[1]}.ts`;
        if (known.has(file)) queue.push(file);
      }
    }
    expect(sources.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([]);
  });
});

describe("pages", () => {
  it("each has one first-level heading, and links between pages lead somewhere", () => {
    const pages = [
      ...readdirSync(root)
        .filter((name) => name.endsWith(".md"))
        .map((name) => join(root, name)),
      ...filesUnder(join(root, "docs")).filter((path) => path.endsWith(".md")),
    ];
    const wrong: string[] = [];
    for (const page of pages) {
      const text = readFileSync(page, "utf8").replaceAll(/```[\s\S]*?```/g, "");
      if ((text.match(/^# /gm) ?? []).length !== 1)
        wrong.push(`${relative(root, page)}: not one first-level heading`);
      for (const [, link] of text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)) {
        if (!existsSync(resolve(dirname(page), link ?? "")) || !statSync(page))
          wrong.push(`${relative(root, page)}: ${link} is not there`);
      }
    }
    expect(wrong).toEqual([]);
  });
});
