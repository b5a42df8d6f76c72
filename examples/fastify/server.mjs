// A web app that reads receipts. Each request runs here or at the edge server, wherever it is expected sooner.
//   node examples/fastify/server.mjs
//   curl --data-binary @samples/inputs/images/receipt-1.jpg -H "content-type: image/jpeg" http://127.0.0.1:3000/receipts
import { fileURLToPath } from "node:url";
import Fastify from "fastify";
import { LongshoreError, openOffloader, textElements } from "longshore";

const offloader = await openOffloader({
  repository: fileURLToPath(new URL("../../samples/repository", import.meta.url)),
  servers: process.env["EDGE"] ? [process.env["EDGE"]] : [],
});
const app = Fastify({ bodyLimit: 10_000_000 });
app.addContentTypeParser("image/jpeg", { parseAs: "buffer" }, (_request, body, done) => done(null, body));

app.post("/receipts", async (request, reply) => {
  // A client that goes away cancels the run.
  const gone = new AbortController();
  reply.raw.once("close", () => gone.abort());
  try {
    const image = new Uint8Array(request.body);
    const result = await offloader.infer("ocr", { image }, { deadlineMs: 30_000, signal: gone.signal });
    return { lines: textElements(result.outputs.get("text")), where: result.where, because: result.because };
  } catch (error) {
    if (!LongshoreError.is(error)) throw error;
    // A busy server or a late answer is worth a retry; any other error is the request's fault or ours.
    return reply.code(error.retryable ? 503 : 400).send({ reason: error.reason, message: error.message });
  }
});
app.addHook("onClose", () => offloader.close());

console.log(`listening on ${await app.listen({ port: Number(process.env["PORT"] ?? 3000) })}`);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => void app.close());
