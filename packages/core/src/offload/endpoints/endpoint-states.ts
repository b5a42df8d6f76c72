import type { EndpointId } from "../../words/base/index.ts";
import { endpointBoard } from "./board.ts";
import { type EndpointRuns, endpointRuns } from "./endpoint-runs.ts";
import type { EndpointState } from "./endpoint-state.ts";
import { type EndpointTables, endpointTables } from "./endpoint-tables.ts";
import { type LinkTables, linkTables } from "./link-tables.ts";
import { type EndpointsParts, followMembers, type Membership } from "./membership.ts";
import { runFailures } from "./run-failures.ts";

/** All other endpoints: those that were given, and those of the directory. */
export interface EndpointStates extends Disposable {
  readonly all: ReadonlyMap<EndpointId, EndpointState>;
  readonly membership: Membership;
  readonly runs: EndpointRuns;
  readonly tables: EndpointTables;
  readonly links: LinkTables;
  /** Closes all endpoints. */
  closeAll(): Promise<void>;
}

/** Follows all endpoints. */
export function followEndpoints(parts: EndpointsParts, self: EndpointId): EndpointStates {
  const { clock, random, local, beliefs } = parts;
  const all = new Map<EndpointId, EndpointState>();
  const board = endpointBoard();
  const failures = runFailures(all, random);
  const tables = endpointTables({ endpoints: all, board, failures, random, runsHere: local !== undefined });
  const membership = followMembers(parts, self, all, {
    added(state) {
      board.add(state);
      tables.outdated();
    },
    removed(id) {
      board.remove(id);
      failures.forget(id);
      tables.outdated();
    },
    changed(id, link) {
      board.changed(id);
      if (link) tables.outdated();
    },
  });
  beliefs?.follow(() => {
    const nowMs = clock.nowMs();
    const proven = [...all].filter(([, { record }]) => record.proven);
    return { servers: new Map(proven.map(([id, { service }]) => [id, service.ratio(nowMs)])) };
  });
  return {
    all,
    membership,
    runs: endpointRuns(failures),
    tables,
    links: linkTables(tables),
    closeAll: () => membership.closeAll(),
    [Symbol.dispose]: () => membership[Symbol.dispose](),
  };
}
