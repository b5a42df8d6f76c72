import type { Call, WireResponse } from "@longshore/core";
import { Holding } from "../../body/index.ts";
import { InferenceEvents } from "../../telemetry/index.ts";
import type { Api, IncomingRequest } from "../parts.ts";
import { type InferRoute, parseHead } from "./parse.ts";
import { planHead } from "./plan.ts";
import { reply, untilSent } from "./reply.ts";
import { readQuestion } from "./request.ts";
import { run } from "./run.ts";
import { replySeveral } from "./several.ts";

/**
 * `POST .../infer`, over HTTP and gRPC: parse, plan, run or forward, reply.
 *
 * Everything in path and headers is checked before the body is read: rights, drain, deadline, rules, model, version, variant, digest,
 * announced length. Resources of the request (memory, its slot) are released when it ends, or when its reply was sent.
 *
 * @param stated The call as parsed from its headers, if that was done already: its deadline counts from then.
 */
export async function infer(
  api: Api,
  route: InferRoute,
  incoming: IncomingRequest,
  stated?: Call,
): Promise<WireResponse> {
  const startedMs = api.clock.nowMs();
  const held = new Holding();
  let events: InferenceEvents | undefined;
  // Streams of answers report their own end.
  let goesOn = false;
  try {
    held.keep(api.health.life.enter());
    const parsed = parseHead(api, route, incoming, stated);
    const head = parsed instanceof Promise ? await parsed : parsed;
    events = new InferenceEvents(api, incoming.request, head.knowledge.description, head.call, startedMs);

    const plan = planHead(api, route, incoming, head, held);
    const askedMs = api.clock.nowMs();
    const inference = { api, route, incoming, head, plan, events, held, startedMs, askedMs };
    const reading = readQuestion(inference);
    const question = reading instanceof Promise ? await reading : reading;

    if (plan.several && head.knowledge.description.decoupled === true) {
      goesOn = true;
      return await replySeveral(inference, question);
    }
    const answer = await run(inference, question);
    const answeredMs = api.clock.nowMs();
    const writing = reply(inference, question, answer);
    const written = writing instanceof Promise ? await writing : writing;
    events.stage("encode", "outputs", answeredMs);
    events.answer(answer.response, written);
    events.answered();
    goesOn = written.body.kind === "stream";
    return goesOn ? untilSent(written, head.call, held.handOver()) : written;
  } catch (thrown) {
    if (!goesOn) events?.failed(thrown);
    throw thrown;
  } finally {
    held[Symbol.dispose]();
  }
}
