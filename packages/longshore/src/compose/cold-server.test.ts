import { afterEach, expect, it } from "vitest";
import {
  codecSet,
  createOffloader,
  type Endpoint,
  linkBelief,
  linkModel,
  rawCodec,
  seededRandom,
  silentObserver,
  standardPolicy,
} from "@longshore/core";
import { farmModel, farmEndpoint, farmRequest } from "@longshore/lab";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { createHandler, createLife, listen } from "@longshore/server";
import { dial, serverInfo } from "../connect/dial.ts";

const open: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

const clock = systemClock();
const model = farmModel([{ workMs: 1, size: 1 }]);

/** A server whose runs wait until it has loaded, for which it needs `finish`. */
async function coldServer() {
  const { endpoint } = farmEndpoint({ speed: 1, slots: 4 }, 0, model, clock);
  let finish = (): void => undefined;
  const loaded = new Promise<void>((resolve) => (finish = resolve));
  const asked = { prepares: 0, runs: 0 };
  const cold: Endpoint = {
    ...endpoint,
    capabilities: {
      ...endpoint.capabilities,
      prepare: () => {
        asked.prepares++;
        return loaded;
      },
    },
    infer: async (request, call) => {
      asked.runs++;
      await loaded;
      return endpoint.infer(request, call);
    },
  };
  const life = createLife();
  life.ready();
  const codecs = codecSet(rawCodec);
  const handler = createHandler({ endpoint: cold, life, codecs, clock, observer: silentObserver });
  const listening = await listen(handler, { clock, random: systemRandom(), port: 0 });
  open.push(listening);
  return { address: listening.address, asked, finish: () => finish() };
}

it("a server that loads for longer than a run here takes is used as soon as it has, over sockets", async () => {
  const { address, asked, finish } = await coldServer();
  // 200 ms for what the server takes one for.
  const { endpoint } = farmEndpoint({ speed: 0.005, slots: 4 }, 1, model, clock);
  const local: Endpoint = { ...endpoint, info: { ...endpoint.info, id: "device", tier: "device" } };
  const link = linkBelief({ model: linkModel() });
  const parts = { clock, random: seededRandom(1), observer: silentObserver };
  const offloader = createOffloader({
    ...parts,
    local,
    endpoints: [dial(serverInfo({ address, id: "server" }), { ...parts, link })],
    policy: standardPolicy(),
    links: () => link,
    defaults: { dataClass: "public" },
  });
  open.push(offloader);
  const x = farmRequest(model, { workMs: 1, size: 1 }).inputs.get("x");
  if (!x || "read" in x) throw new Error("a farm's request is a tensor x");
  const where = async (): Promise<string> => (await offloader.infer("work", { x })).where;
  // Until one has waited there in vain and the next has the server load.
  for (let count = 0; asked.prepares === 0; count++) {
    expect(await where()).toBe("device");
    expect(count).toBeLessThan(50);
  }
  const { runs } = asked;
  expect([await where(), await where(), asked.runs]).toEqual(["device", "device", runs]);
  finish();
  let late = 0;
  while ((await where()) !== "server") expect(++late).toBeLessThan(20);
  expect(asked.prepares).toBe(1);
}, 60_000);
