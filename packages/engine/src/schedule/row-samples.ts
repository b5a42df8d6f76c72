import type { TenantId, Tensors } from "@longshore/core";
import { allSteps } from "@longshore/core/internal";
import { followRows, rowBytesOf, rowsOf, rowsOut } from "../runtime/index.ts";

/** Single rows of real requests, copied, until there are enough to test a graph with. */
export interface RowSamples {
  /** Resolves once there are enough. */
  readonly rows: Promise<readonly Tensors[]>;
  /** Looks at the inputs of a request. False once no more are wanted. */
  offer(feeds: Tensors, tenant: TenantId): boolean;
}

const enoughRows = 8;
/** Requests after which those that are here have to do: many callers send the same bytes over and over. */
const enoughRequests = 24;
const mostBytes = 16 * 2 ** 20;

/**
 * Rows of one tenant and one shape: rows of several tenants never share a run, and of a tenant neither do those of different
 * shapes. The first request says which.
 */
export function rowSamples(): RowSamples {
  const rows: Tensors[] = [];
  let requests = 0;
  let bytes = 0;
  let kind: string | undefined;
  let done: (rows: readonly Tensors[]) => void = () => undefined;
  const enough = new Promise<readonly Tensors[]>((resolve) => (done = resolve));
  let open = true;
  return {
    rows: enough,
    offer(feeds, tenant) {
      if (!open) return false;
      const count = rowsOf(feeds);
      if (!count || !followRows(feeds, count)) return true;
      const own = `${tenant} ${JSON.stringify([...feeds.values()].map(({ spec }) => [spec.name, spec.datatype, spec.shape.slice(1)]))}`;
      kind ??= own;
      if (own !== kind) return true;
      requests++;
      // Rows too large to keep a few of are not tried: runs of them are long and hardly gain.
      if (rowBytesOf(feeds, count) > mostBytes / 2) {
        open = false;
        return false;
      }
      const take = rowsOut(feeds);
      for (let row = 0; row < count && rows.length < enoughRows && bytes < mostBytes; row++) {
        const one = allSteps(take(row, 1));
        if (rows.some((other) => sameTensors(other, one))) continue;
        rows.push(one);
        for (const tensor of one.values()) bytes += tensor.bytes.byteLength;
      }
      open = rows.length < enoughRows && requests < enoughRequests && bytes < mostBytes;
      if (!open) done(rows);
      return open;
    },
  };
}

/** Whether all tensors are equal bit for bit. */
export function sameTensors(a: Tensors, b: Tensors): boolean {
  for (const [name, { spec, bytes }] of a) {
    const other = b.get(name);
    if (!other || other.bytes.byteLength !== bytes.byteLength) return false;
    if (other.spec.datatype !== spec.datatype || other.spec.shape.length !== spec.shape.length) return false;
    if (spec.shape.some((size, axis) => other.spec.shape[axis] !== size)) return false;
    for (let index = 0; index < bytes.byteLength; index++) {
      if (bytes[index] !== other.bytes[index]) return false;
    }
  }
  return a.size === b.size;
}
