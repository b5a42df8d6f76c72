/**
 * Servers of a farm in a process of their own, each on a port: the protocol and the sockets are real, and a run holds a slot
 * for the time that the request states, without using the processor. Told which servers and what requests there will be in one
 * message, it says where they listen.
 */
import { codecSet, rawCodec, silentObserver } from "@longshore/core";
import { farmModel, farmEndpoint, type FarmRequest, type FarmServer } from "@longshore/lab";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { createHandler, createLife, listen } from "@longshore/server";

/** Its orders. */
export interface FarmOrder {
  readonly servers: readonly FarmServer[];
  /** All requests of the run: the model's profile was measured on them. */
  readonly requests: readonly FarmRequest[];
}

const clock = systemClock();
const random = systemRandom();

async function open({ servers, requests }: FarmOrder): Promise<readonly string[]> {
  const model = farmModel(requests);
  return Promise.all(
    servers.map(async (server, index) => {
      const endpoint = farmEndpoint(server, index, model, clock);
      const life = createLife();
      life.ready();
      const handler = createHandler({
        endpoint: endpoint.endpoint,
        life,
        codecs: codecSet(rawCodec),
        clock,
        observer: silentObserver,
        load: () => endpoint.load(),
      });
      const { address } = await listen(handler, { clock, random, port: 0 });
      return address;
    }),
  );
}

process.once("message", (order) => {
  // Only the bench that forked this process writes to it.
  open(order as FarmOrder).then(
    (addresses) => process.send?.(addresses),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
// The parent process is gone.
process.once("disconnect", () => process.exit(0));
