import { type Call, LongshoreError, type TenantId } from "@longshore/core";
import { Chain, type Chained, PassingMap } from "@longshore/core/internal";

/** Admission of one request. Work that has not arrived yet counts as waiting. Dispose it when the request ends. */
export interface Ticket extends Disposable {
  readonly tenant: TenantId;
  readonly deadlineMs: number;
  /** Rows that have not arrived yet. */
  readonly rows: number;
  /** Corrects the number of rows to come, once it is known. */
  expect(rows: number): void;
}

/** All tickets of one scheduler. */
export interface Tickets {
  readonly count: number;
  /** Tickets whose work has not arrived yet. */
  readonly pending: Pick<Chain<Ticket>, "first" | "size">;
  /**
   * Throws `queue-full` with the time until one ticket returns. If all tickets are out and one tenant has more than its share, `evict`
   * takes one from it for a tenant with less.
   */
  grant(rows: number, call: Pick<Call, "tenant" | "deadlineMs">, rowMs: number): Ticket;
}

/** Inputs of a ticket desk, which compares the shares of tenants. */
export interface TicketsParts {
  readonly name: string;
  readonly most: number;
  readonly weightOf: (tenant: TenantId) => number;
  /** Removes a request of that tenant from the queue; false if none waits there. */
  readonly evict: (tenant: TenantId) => boolean;
  /** Called when a ticket is disposed. */
  readonly returned: () => void;
}

/** At most `most` tickets at a time. */
export function createTickets({ name, most, weightOf, evict, returned }: TicketsParts): Tickets {
  let open = 0;
  const pending = new Chain<Ticket>();
  const held = new PassingMap<TenantId, number>();

  /** Takes a ticket from the tenant with the most for its weight, if the newcomer would have less even with one more. */
  function makeRoom(newcomer: TenantId): boolean {
    const share = (tenant: TenantId, more: number): number =>
      ((held.get(tenant) ?? 0) + more) / Math.max(1e-6, weightOf(tenant));
    let most: TenantId | undefined;
    for (const [tenant] of held.entries()) if (!most || share(tenant, 0) > share(most, 0)) most = tenant;
    return most !== undefined && most !== newcomer && share(most, 0) > share(newcomer, 1) && evict(most);
  }

  const owner: TicketOwner = {
    pending,
    returned({ tenant }) {
      open--;
      const fewer = (held.get(tenant) ?? 1) - 1;
      if (fewer > 0) held.set(tenant, fewer);
      else held.delete(tenant);
      returned();
    },
  };

  return {
    get count(): number {
      return open;
    },
    pending,
    grant(rows, { tenant, deadlineMs }, rowMs) {
      // An evicted request returns its ticket in a later turn. Until then there is one ticket too many, and never two.
      if (open >= most && !(open === most && makeRoom(tenant))) {
        throw new LongshoreError(
          "queue-full",
          "admission",
          `${open} requests for ${name} are under way; at most ${most} are taken`,
          { retryAfterMs: Math.max(1, Math.ceil(rowMs)) },
        );
      }
      open++;
      held.set(tenant, (held.get(tenant) ?? 0) + 1);
      return new GrantedTicket(tenant, deadlineMs, rows, owner);
    },
  };
}

/** The parts of a desk that its tickets use. */
interface TicketOwner {
  /** Tickets whose work has not arrived yet. */
  readonly pending: Chain<Ticket>;
  /** Called once for each ticket. */
  returned(ticket: Ticket): void;
}

class GrantedTicket implements Ticket {
  readonly tenant: TenantId;
  readonly deadlineMs: number;
  rows: number;
  readonly #desk: TicketOwner;
  #isOpen = true;
  /** Its link in `pending`, while its work has not arrived. */
  #link: Chained<Ticket> | undefined;

  constructor(tenant: TenantId, deadlineMs: number, rows: number, owner: TicketOwner) {
    this.tenant = tenant;
    this.deadlineMs = deadlineMs;
    this.rows = rows;
    this.#desk = owner;
    this.#link = rows > 0 ? owner.pending.add(this) : undefined;
  }

  expect(count: number): void {
    this.rows = Math.max(0, count);
    this.#waits(this.rows > 0 && this.#isOpen);
  }

  #waits(still: boolean): void {
    if (still) this.#link ??= this.#desk.pending.add(this);
    else if (this.#link) {
      this.#desk.pending.remove(this.#link);
      this.#link = undefined;
    }
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#waits(false);
    this.#desk.returned(this);
  }
}
