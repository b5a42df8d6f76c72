import { once } from "node:events";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { type Observer, type Policy, standardPolicy } from "@longshore/core";
import { listedDirectory } from "@longshore/testkit";
import { afterEach, expect, it } from "vitest";
import { answer, before, closeAll, type Infer, readAll, upstream } from "../../test/upstream.ts";
import { serverInfo } from "../connect/dial.ts";

afterEach(closeAll);

const usualCount = 100_000;

function body(extra: object = {}, count = usualCount): { readonly head: Buffer; readonly tensor: Buffer } {
  const input = { name: "x", datatype: "FP32", shape: [count], parameters: { binary_data_size: 4 * count } };
  const json = { id: "seven", inputs: [input], parameters: { binary_data_output: true, own: 3 }, ...extra };
  const values = Float32Array.from({ length: count }, (_, index) => index);
  return { head: Buffer.from(JSON.stringify(json)), tensor: Buffer.from(values.buffer) };
}

function post(
  address: string,
  { head, tensor }: ReturnType<typeof body>,
  headers: Record<string, string> = {},
) {
  const asked = httpRequest(`${address}/v2/models/sum/infer`, {
    method: "POST",
    headers: {
      "content-type": "application/octet-stream",
      "inference-header-content-length": head.byteLength,
      "content-length": head.byteLength + tensor.byteLength,
      ...headers,
    },
  });
  asked.on("error", () => undefined);
  const reply = once(asked, "response").then(async ([response]: IncomingMessage[]) => {
    const chunks: Buffer[] = [];
    for await (const chunk of response as IncomingMessage) chunks.push(chunk as Buffer);
    const { statusCode: status, headers, trailers } = response!;
    return { status, headers, trailers, bytes: Buffer.concat(chunks) };
  });
  return { asked, reply };
}

it("sends a body on, byte for byte, while the rest of it is still on its way", async () => {
  let begun = (): void => undefined;
  const beginning = new Promise<void>((resolve) => (begun = resolve));
  let came: Buffer | undefined;
  const { address } = await before([
    await upstream(async (request, response) => {
      request.once("data", begun);
      came = await readAll(request);
      response.end(Buffer.concat([answer(response, 1), Buffer.from(new Float32Array([42]).buffer)]));
    }),
  ]);
  const sent = body();
  const { asked, reply } = post(address, sent);
  asked.write(sent.head);
  asked.write(sent.tensor.subarray(0, 150_001));
  await beginning;
  asked.end(sent.tensor.subarray(150_001));
  const { status, headers, bytes } = await reply;
  expect(status).toBe(200);
  expect(came).toEqual(Buffer.concat([sent.head, sent.tensor]));
  expect(bytes.readFloatLE(bytes.byteLength - 4)).toBe(42);
  expect(JSON.parse(bytes.toString("utf8", 0, bytes.byteLength - 4))).toMatchObject({ id: "seven" });
  expect(headers).toHaveProperty("longshore-load");
});

it("sends all of it to another server when the first breaks off in the middle", async () => {
  const bodies: Buffer[] = [];
  let broken = 0;
  const infer: Infer = (request, response) => {
    if (broken === 0) {
      broken += 1;
      request.once("data", () => request.socket.destroy());
      return;
    }
    void readAll(request).then((bytes) => {
      bodies.push(bytes);
      response.end(Buffer.concat([answer(response, 1), Buffer.alloc(4)]));
    });
  };
  const { address } = await before([await upstream(infer), await upstream(infer)]);
  const sent = body();
  const { asked, reply } = post(address, sent);
  asked.write(sent.head);
  for (let at = 0; at < sent.tensor.byteLength; at += 40_001) {
    asked.write(sent.tensor.subarray(at, at + 40_001));
    await new Promise((resolve) => setImmediate(resolve));
  }
  asked.end();
  expect((await reply).status).toBe(200);
  expect(broken).toBe(1);
  expect(bodies).toEqual([Buffer.concat([sent.head, sent.tensor])]);
});

it("sends all of it to another server when the first stops reading, so that its bytes wait in buffers", async () => {
  let stalls = false;
  let stalled = 0;
  const lengths: number[] = [];
  const infer: Infer = (request, response) => {
    if (stalls) {
      // It stays there, and reads nothing.
      stalls = false;
      stalled += 1;
      return;
    }
    void readAll(request).then((bytes) => {
      lengths.push(bytes.byteLength);
      response.end(Buffer.concat([answer(response, 1), Buffer.alloc(4)]));
    });
  };
  const { address } = await before([await upstream(infer), await upstream(infer)], { maxKeptBytes: 2 ** 26 });
  const asks = async ({ head, tensor }: ReturnType<typeof body>): Promise<number | undefined> => {
    const { asked, reply } = post(address, { head, tensor });
    asked.end(Buffer.concat([head, tensor]));
    return (await reply).status;
  };
  for (let round = 0; round < 20; round++) expect(await asks(body())).toBe(200);
  // More than the system buffers for a connection that is not read.
  const large = body({}, 5_000_000);
  stalls = true;
  expect(await asks(large)).toBe(200);
  expect(stalled).toBe(1);
  expect(lengths.at(-1)).toBe(large.head.byteLength + large.tensor.byteLength);
});

it("keeps no more of a body than its limit, and then has no second try", async () => {
  let asked = 0;
  const infer: Infer = (request) => {
    asked += 1;
    let came = 0;
    request.on("data", (chunk: Buffer) => {
      if ((came += chunk.byteLength) > 300_000) request.socket.destroy();
    });
  };
  const { address } = await before([await upstream(infer), await upstream(infer)], { maxKeptBytes: 65_536 });
  const sent = body();
  const { asked: posted, reply } = post(address, sent);
  posted.end(Buffer.concat([sent.head, sent.tensor]));
  expect((await reply).status).toBeGreaterThanOrEqual(502);
  expect(asked).toBe(1);
});

it("plans a request with a deadline once, and refuses at once a request that no server could serve in time", async () => {
  const plans: unknown[] = [];
  let policies = 0;
  const policy: Policy = {
    decide(facts) {
      policies += 1;
      return standardPolicy().decide(facts);
    },
  };
  const infer: Infer = async (request, response) => {
    await readAll(request);
    response.end(Buffer.concat([answer(response, 1), Buffer.alloc(4)]));
  };
  const observer: Observer = {
    record: (event) => void (event.kind === "plan-made" && plans.push(event.endpoint)),
  };
  const { address } = await before([await upstream(infer)], { policy, observer, checks: { sampleRatio: 0 } });
  const asks = async (headers: Record<string, string>): Promise<number | undefined> => {
    const sent = body();
    const { asked, reply } = post(address, sent, headers);
    asked.end(Buffer.concat([sent.head, sent.tensor]));
    return (await reply).status;
  };
  expect(await asks({})).toBe(200);
  policies = 0;
  expect(await asks({})).toBe(200);
  const without = policies;
  policies = 0;
  expect(await asks({ "longshore-deadline": "30000" })).toBe(200);
  expect(policies).toBe(without);
  expect(plans).toHaveLength(3);
  expect(await asks({ "longshore-deadline": "0.001" })).toBeGreaterThanOrEqual(429);
  expect(plans).toHaveLength(3);
});

it("leaves the server when the client leaves", async () => {
  let begun = (): void => undefined;
  const beginning = new Promise<void>((resolve) => (begun = resolve));
  let ended = (): void => undefined;
  const end = new Promise<void>((resolve) => (ended = resolve));
  const { address } = await before([
    await upstream((request) => {
      request.once("data", begun);
      request.on("error", () => undefined).once("close", ended);
    }),
  ]);
  const sent = body();
  const { asked, reply } = post(address, sent);
  reply.catch(() => undefined);
  asked.write(sent.head);
  asked.write(sent.tensor.subarray(0, 100_000));
  await beginning;
  asked.destroy();
  await end;
});

it("passes a long answer on while it is arriving, and breaks off where that does", async () => {
  const floats = 200_000;
  let finish = (): void => undefined;
  let breakOff = false;
  const { address } = await before([
    await upstream(async (request, response) => {
      await readAll(request);
      response.write(answer(response, floats));
      response.write(Buffer.alloc(2 * floats));
      finish = () => void (breakOff ? response.destroy() : response.end(Buffer.alloc(2 * floats)));
    }),
  ]);
  for (const broken of [false, true]) {
    breakOff = broken;
    const sent = body();
    const { asked, reply } = post(address, sent);
    const early = once(asked, "response");
    asked.end(Buffer.concat([sent.head, sent.tensor]));
    await early;
    finish();
    if (broken) await expect(reply).rejects.toThrow("aborted");
    else expect((await reply).bytes.byteLength).toBeGreaterThan(4 * floats);
  }
});

it.each([
  ["its deadline passes", { "longshore-deadline": "700" }, "deadline-exceeded"],
  ["its server breaks off", {}, "no-answer"],
])("reports in trailers why a reply that has begun stops: %s", async (_, headers, reason) => {
  const floats = 200_000;
  const { address } = await before([
    await upstream(async (request, response) => {
      await readAll(request);
      response.write(answer(response, floats));
      response.write(Buffer.alloc(2 * floats), () => {
        if (reason === "no-answer") response.destroy();
      });
    }),
  ]);
  const sent = body();
  const ask = (extra: Record<string, string>) => {
    const { asked, reply } = post(address, sent, { ...headers, ...extra });
    asked.end(Buffer.concat([sent.head, sent.tensor]));
    return reply;
  };
  const { status, headers: said, trailers, bytes } = await ask({ te: "trailers" });
  expect(status).toBe(200);
  expect(said).toMatchObject({
    trailer: "longshore-reason, longshore-error",
    "transfer-encoding": "chunked",
  });
  expect(bytes.byteLength).toBeLessThan(4 * floats);
  expect(trailers).toMatchObject({ "longshore-reason": reason, "longshore-error": expect.any(String) });
  // A client that reads none must not take what came for all of it.
  await expect(ask({})).rejects.toThrow("aborted");
});

it.each(["reads on", "leaves"])(
  "passes a long answer on of a server that has left the directory meanwhile, while its client %s",
  async (what) => {
    const floats = 200_000;
    let finish = (): void => undefined;
    const address = await upstream(async (request, response) => {
      await readAll(request);
      response.write(answer(response, floats));
      response.write(Buffer.alloc(2 * floats));
      finish = () => void response.end(Buffer.alloc(2 * floats));
    });
    const directory = listedDirectory([serverInfo({ address, kind: "oip" })]);
    const gate = await before([], { directory });
    const sent = body();
    const { asked, reply } = post(gate.address, sent);
    const early = once(asked, "response");
    asked.end(Buffer.concat([sent.head, sent.tensor]));
    await early;
    directory.list();
    if (what === "leaves") {
      asked.destroy();
      await expect(reply).rejects.toThrow("aborted");
      // Nothing is waited for in vain.
      await gate.close(0);
      return;
    }
    finish();
    expect((await reply).bytes.byteLength).toBeGreaterThan(4 * floats);
  },
);

it("sends no byte of a request that its rules keep here, and says so before all of it has come", async () => {
  let asked = 0;
  const { address } = await before([await upstream(() => void (asked += 1))]);
  const sent = body();
  const { asked: denied, reply } = post(address, sent, { "longshore-rules": "class=secret" });
  denied.write(sent.head);
  denied.write(sent.tensor.subarray(0, 100_000));
  const { status, bytes } = await reply;
  expect(status).toBe(403);
  expect(JSON.parse(bytes.toString())).toMatchObject({ reason: "policy-denied" });
  expect(asked).toBe(0);
  denied.destroy();
});

it("answers for the server if inputs do not fit the model", async () => {
  const wrong: Infer = (request, response) => {
    void readAll(request).then(() => {
      const json = Buffer.from(
        JSON.stringify({
          model_name: "sum",
          outputs: [{ name: "z", datatype: "FP32", shape: [1], parameters: { binary_data_size: 4 } }],
        }),
      );
      response.writeHead(200, { "inference-header-content-length": json.byteLength });
      response.end(Buffer.concat([json, Buffer.alloc(4)]));
    });
  };
  const { address } = await before([await upstream(wrong)]);
  const sent = body();
  const { asked, reply } = post(address, sent);
  asked.end(Buffer.concat([sent.head, sent.tensor]));
  const { status, bytes } = await reply;
  expect(status).toBe(502);
  expect(JSON.parse(bytes.toString())).toMatchObject({ reason: "bad-reply" });
});
