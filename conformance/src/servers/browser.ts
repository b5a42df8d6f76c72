import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { dirname, extname, join, normalize, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "../install/index.ts";

/** Folders of built modules, by the first part of their path. */
const folders: Readonly<Record<string, string>> = {
  core: dirname(fileURLToPath(import.meta.resolve("@longshore/core"))),
  web: dirname(fileURLToPath(import.meta.resolve("@longshore/web"))),
  page: join(dirname(dirname(fileURLToPath(import.meta.url))), "page"),
};

const imports = {
  "@longshore/core": "/core/index.js",
  "@longshore/core/internal": "/core/internal.js",
  "@longshore/web": "/web/index.js",
};

const html = `<!doctype html><title>page</title>
<script type="importmap">${JSON.stringify({ imports })}</script>
<script type="module" src="/page/ask.js"></script>
`;

async function fileOf(path: string): Promise<Buffer | undefined> {
  const [, first = "", ...rest] = normalize(path).split(sep);
  const folder = folders[first];
  if (folder === undefined || extname(path) !== ".js") return undefined;
  return readFile(join(folder, ...rest)).catch(() => undefined);
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
}

/** How long a page may take on a busy machine. */
const mostMs = 120_000;

/**
 * Opens a page of some host in Chromium, and returns what the page reported. The page is `src/page/ask.ts` with these servers.
 * Throws the output of the browser if the page reports nothing.
 */
export async function openPage(host: string, port: number, servers: readonly string[]): Promise<unknown> {
  const { path: program, env } = await chromium();
  let reported: (text: string) => void = () => undefined;
  const report = new Promise<string>((resolve) => (reported = resolve));
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname } = new URL(request.url ?? "/", "http://page");
    if (request.method === "POST" && pathname === "/report") {
      reported(await bodyOf(request));
      response.writeHead(204).end();
      return;
    }
    if (pathname === "/") {
      response.writeHead(200, { "content-type": "text/html" }).end(html);
      return;
    }
    const file = await fileOf(pathname);
    response.writeHead(file ? 200 : 404, { "content-type": "text/javascript" }).end(file ?? "");
  };
  const pages = createServer((request, response) => void answer(request, response)).listen(port, "127.0.0.1");
  await once(pages, "listening");
  const query = servers.map((server) => `server=${encodeURIComponent(server)}`).join("&");
  const child = spawn(
    program,
    [
      "--no-sandbox",
      "--disable-gpu",
      "--enable-logging=stderr",
      `--host-resolver-rules=MAP ${host} 127.0.0.1`,
      "--remote-debugging-port=0",
      `http://${host}:${port}/?${query}`,
    ],
    { env: { ...process.env, ...env }, stdio: ["ignore", "ignore", "pipe"] },
  );
  let printed = "";
  child.stderr.on("data", (chunk: Buffer) => (printed = (printed + chunk.toString()).slice(-16_384)));
  const gone = new Promise<string>((resolve) => {
    child.once("error", (thrown) => resolve(thrown.message));
    child.once("exit", (code, signal) => resolve(`it ended with ${code ?? signal}`));
  });
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`it reported nothing in ${mostMs} ms`), mostMs);
  });
  const why = Promise.race([gone, tooLate]).then((words) => {
    throw new Error(`Chromium: ${words}: ${printed.slice(-800)}`);
  });
  try {
    return JSON.parse(await Promise.race([report, why])) as unknown;
  } finally {
    clearTimeout(timer);
    child.kill("SIGKILL");
    await gone;
    why.catch(() => undefined);
    pages.closeAllConnections();
    pages.close();
  }
}
