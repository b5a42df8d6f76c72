/**
 * A server of images in a process of its own, over real sockets and a real engine. With the argument `text` it reads JSON as
 * the product does. With `parse` a handler in front reads the tensor with JSON.parse and passes the same request on in binary,
 * so that the two differ in nothing else. On request it reports the processor time of all its threads.
 *
 * Arguments: folder of models, `text` or `parse`.
 */
import { type Handler, readBody, silentObserver } from "@longshore/core";
import { headerLengthHeader } from "@longshore/core/internal";
import { folderStore, systemClock, systemRandom } from "@longshore/nodejs";
import { createHandler, createLife, listen } from "@longshore/server";
import { openEngine, platformCodecs } from "longshore/measure";
import { asBinary, byJsonParse, limits } from "./ways.ts";

const [, , folder = "", way = "text"] = process.argv;
const clock = systemClock();
const random = systemRandom();
const { engine } = openEngine({ store: folderStore(folder), tier: "edge", cores: 1 });
const life = createLife();
life.ready();
const inner = createHandler({
  endpoint: engine,
  life,
  codecs: platformCodecs(),
  clock,
  observer: silentObserver,
  limits,
});

const parsing: Handler = async (request, call) => {
  if (request.headers[headerLengthHeader] !== undefined) return inner(request, call);
  const { headerBytes, parts } = asBinary(
    byJsonParse(await readBody(request.body, { maxBytes: limits.maxBodyBytes })),
  );
  const headers = { ...request.headers, [headerLengthHeader]: `${headerBytes}` };
  return inner({ ...request, headers, body: { kind: "parts", parts } }, call);
};

process.on("message", () => {
  const { user, system } = process.cpuUsage();
  process.send?.((user + system) / 1000);
});
// The parent process is gone.
process.once("disconnect", () => process.exit(0));
const { address } = await listen(way === "parse" ? parsing : inner, { clock, random, port: 0 });
process.send?.(address);
