import {
  type Clock,
  type EndpointId,
  type Json,
  LongshoreError,
  type TenantId,
} from "../../words/base/index.ts";
import type { EndpointInfo } from "../../wire/endpoint/index.ts";
import type { Signed } from "../signed/index.ts";
import { claimedAlias } from "./alias-records.ts";
import type { DirectoryEntry, DirectoryRecord } from "./entry.ts";
import {
  type DirectoryPage,
  type EarlierReply,
  type JoinReply,
  joinRequestFrom,
  type JoinRequest,
  leaveRequestFrom,
} from "./join-json.ts";
import { type RecordRules, recordsOf } from "./records.ts";
import type { RecordSink, RecordSource } from "./source.ts";

/** Parts of a registry. */
export interface RegistryParts extends RecordRules {
  readonly clock: Clock;
  /** Distinguishes this registry from the one before a restart. */
  readonly instance: string;
  /** Lease of an endpoint without renewal, in milliseconds. Default 15,000. Leases do not end while this registry is out of reach. */
  readonly leaseMs?: number;
  /**
   * The operator's entry for endpoints that bring none: an upper bound. Undefined: none may join without an entry. Such endpoints state
   * their own tier unless it is given here.
   */
  readonly admits?: Pick<DirectoryEntry, "zone" | "trust"> & Partial<Pick<DirectoryEntry, "tier">>;
  /**
   * The operator's entry of an endpoint from another source. Of this and the endpoint's own entry, the later serial wins. Default: none.
   */
  readonly known?: (id: EndpointId) => Signed<DirectoryEntry> | undefined;
  /** Signed aliases from another source, passed on unchanged. Default: none. */
  readonly aliases?: () => readonly Json[];
  /**
   * Time after a start during which no endpoint counts as gone, in milliseconds. Earlier members get time to join again, and network
   * readers continue with their last state. Default: one lease, in which each member tries to join three times. It ends early after a
   * restart once all earlier members are back.
   */
  readonly graceMs?: number;
  /**
   * Whether an endpoint answers now. A member whose lease has expired stays as long as it answers: its renewal was lost on the
   * way here. Default: none does.
   */
  readonly answers?: (info: EndpointInfo) => Promise<boolean>;
  /** The local follower remembers endpoints across restarts, so the grace time applies to it too. Default: it begins empty. */
  readonly remembered?: boolean;
  /**
   * Whether the local follower is told from the start that members may be missing during the grace time. False where endpoints are listed
   * elsewhere, so that members are not the rule: it is told only once the first has joined. Default true.
   */
  readonly expectsMembers?: boolean;
}

/** The network interface of a directory on a server. */
export interface DirectoryApi {
  /** Joins, or renews the lease of a member. Throws what the record parser throws, and `not-permitted` for endpoints of other tenants. */
  join(request: unknown, tenant: TenantId): Promise<JoinReply>;
  leave(request: unknown, tenant: TenantId): void;
  /** Changes since an earlier page; everything if they are unknown. */
  list(since: string | undefined): DirectoryPage;
}

/** Endpoints that join this process over the network, as a source of a directory. */
export interface Registry extends RecordSource, DirectoryApi, Disposable {}

interface Member {
  readonly record: DirectoryRecord;
  readonly tenant: TenantId;
  readonly revision: number;
  lease: Disposable;
}

/** Maximum of removed endpoints that are still reported as changes. */
const maxGone = 4096;
/** Interval at which a registry confirms its own records, in milliseconds. */
const confirmMs = 2000;
/** Number of checks per lease whether this process was suspended. */
const looksPerLease = 8;
/** Without any renewal for this share of a lease, the registry is out of its members' reach. */
const heardRatio = 0.5;
/** The share of a lease within which each earlier member that reaches this registry has tried to join again: a renewal's time and some more. */
const roundRatio = 0.4;
const forever = { notBeforeMs: 0, notAfterMs: 253_402_300_799_999 };

/** Starts without members. Leases use `clock`. */
export function createRegistry(parts: RegistryParts): Registry {
  const { clock, instance, leaseMs = 15_000, admits, ring, codecs, maxRecords } = parts;
  const { graceMs = leaseMs, remembered = false, expectsMembers = true } = parts;
  const startedMs = clock.nowMs();
  let settledAtMs = startedMs + graceMs;
  /** Members from before the restart that joined again, and the most members that one of them was told of. */
  const back = new Set<EndpointId>();
  let expected = 0;
  let round: Disposable | undefined;
  const records = recordsOf({
    codecs,
    ...(ring ? { ring } : {}),
    ...(maxRecords === undefined ? {} : { maxRecords }),
    // An entry without signature was made here.
    unsignedTrust: "vouched",
  });
  const members = new Map<EndpointId, Member>();
  const gone = new Map<string, number>();
  /** Aliases that were reported, by ID. */
  const told = new Map<string, { readonly record: Json; readonly revision: number }>();
  let revision = 0;
  /** Changes up to this revision are not all remembered. */
  let floor = 0;
  let sink: RecordSink | undefined;
  let confirming: Disposable | undefined;
  let settling: Disposable | undefined;
  const lookMs = leaseMs / looksPerLease;
  let lookedAtMs = -Infinity;
  let looking: Disposable | undefined;
  /** Time of the latest join or renewal. */
  let heardAtMs = -Infinity;

  /** Tells the local follower that members may be missing, until the grace time is over. */
  function expectMembers(): void {
    const settlesInMs = settledAtMs - clock.nowMs();
    if (settling || !sink || settlesInMs <= 0) return;
    sink.settling(true);
    settling = clock.timer(settlesInMs, () => sink?.settling(false));
  }

  /** Notes that a member from before a restart is back. */
  function returned(id: EndpointId, earlier: EarlierReply | undefined): void {
    const nowMs = clock.nowMs();
    if (!earlier || earlier.instance === instance || nowMs >= settledAtMs) return;
    back.add(id);
    expected = Math.max(expected, earlier.members);
    // A member that joined last, and of which the others were not told, tries within this time.
    const roundMs = startedMs + roundRatio * leaseMs - nowMs;
    if (roundMs <= 0) settleIfComplete();
    else round ??= clock.timer(roundMs, settleIfComplete);
  }

  /** Ends the grace time if all earlier members are back. */
  function settleIfComplete(): void {
    const nowMs = clock.nowMs();
    if (back.size < expected || nowMs >= settledAtMs) return;
    settledAtMs = nowMs;
    if (settling) sink?.settling(false);
    settling?.[Symbol.dispose]();
  }

  function refuse(message: string): never {
    throw new LongshoreError("not-permitted", "identify", message);
  }

  /** The operator's entry of an endpoint: the later of its own and the known one, otherwise the general one. */
  function wordOn({ id, signed, tier }: JoinRequest): Signed<DirectoryEntry> {
    const known = parts.known?.(id);
    if (known && (!signed || signed.body.serial < known.body.serial)) return known;
    if (signed) {
      if (signed.body.id !== id) refuse(`the entry that ${id} brings is of another endpoint`);
      if (!ring || !signed.signature) refuse(`the entry that ${id} brings is not proved here`);
      return signed;
    }
    if (!admits) refuse(`${id} brings no entry of the operator, and none is known here`);
    const { zone, trust } = admits;
    return {
      body: { schemaVersion: 1, id, serial: 1, ...forever, tier: admits.tier ?? tier ?? "edge", zone, trust },
    };
  }

  function remove(id: EndpointId): void {
    const member = members.get(id);
    if (!member) return;
    member.lease[Symbol.dispose]();
    members.delete(id);
    records.drop(id);
    left(id);
    sink?.drop(id);
  }

  function left(id: string): void {
    gone.delete(id);
    gone.set(id, ++revision);
    for (const [oldest, at] of gone) {
      if (gone.size <= maxGone) break;
      gone.delete(oldest);
      floor = at;
    }
  }

  /** Reads the current aliases. */
  function lookForAliases(): void {
    const now = new Map(
      (parts.aliases?.() ?? []).map((record): [string, Json] => [claimedAlias(record) ?? "", record]),
    );
    for (const id of told.keys()) {
      if (now.has(id)) continue;
      told.delete(id);
      left(id);
    }
    for (const [id, record] of now) {
      if (told.get(id)?.record === record) continue;
      told.set(id, { record, revision: ++revision });
      gone.delete(id);
    }
  }

  function own(id: EndpointId, tenant: TenantId): Member | undefined {
    const member = members.get(id);
    if (member && member.tenant !== tenant) refuse(`${id} joined under another tenant`);
    return member;
  }

  const lease = (id: EndpointId, forMs = leaseMs): Disposable =>
    clock.timer(forMs, () => {
      if (stoodStill()) return;
      const member = members.get(id);
      if (member && nowHeardNobody()) member.lease = lease(id);
      else if (member && parts.answers) void removeUnlessAnswering(id, member, parts.answers);
      else remove(id);
    });

  /** Removes a member whose lease has expired, unless it answers, or renews during the check. */
  async function removeUnlessAnswering(
    id: EndpointId,
    member: Member,
    answers: (info: EndpointInfo) => Promise<boolean>,
  ): Promise<void> {
    const { lease: ended } = member;
    const info = records.kept.get(id)?.info;
    const isWell = info !== undefined && !isReplaced(info) && (await answers(info).catch(() => false));
    if (members.get(id) !== member || member.lease !== ended) return;
    if (isWell) member.lease = lease(id);
    else remove(id);
  }

  /** Whether another member has the address now: then that member answers there. */
  function isReplaced({ id, address }: EndpointInfo): boolean {
    return [...members.keys()].some(
      (other) => other !== id && records.kept.get(other)?.info.address === address,
    );
  }

  /**
   * Whether no member renewed for half a lease, though members do so several times in each. Then this registry is out of their reach, and
   * the end of a lease says nothing about its member. Readers find out themselves which endpoints answer.
   */
  function nowHeardNobody(): boolean {
    return clock.nowMs() - heardAtMs > heardRatio * leaseMs;
  }

  /**
   * Whether this process was suspended (or its machine was). Renewals were lost meanwhile, so all leases start again with the time they get
   * after a restart.
   */
  function stoodStill(): boolean {
    const nowMs = clock.nowMs();
    const still = nowMs - lookedAtMs > 2 * lookMs;
    lookedAtMs = nowMs;
    if (!still) return false;
    for (const [id, member] of members) {
      member.lease[Symbol.dispose]();
      member.lease = lease(id, Math.max(leaseMs, graceMs));
    }
    return true;
  }

  function look(): void {
    stoodStill();
    looking = members.size > 0 ? clock.timer(lookMs, look) : undefined;
  }

  return {
    name: "embedded",
    isOrigin: true,
    async join(raw, tenant) {
      const request = joinRequestFrom(raw, "the request");
      const { id, statement } = request;
      own(id, tenant);
      const signed = wordOn(request);
      const { member: named, packages } = signed.body;
      if (named !== undefined && named !== tenant)
        refuse(`${id} may be joined by ${named}, and the sender is another tenant`);
      const record: DirectoryRecord = { signed, statement };
      const before = records.kept.get(id);
      const kept = await records.take(record).catch((thrown: unknown) => {
        if (!records.kept.has(id)) {
          records.drop(id);
          // By its own statement it is not where it is listed. Until the end of its lease it would receive requests that it may not get.
          if (members.get(id)?.tenant === tenant) remove(id);
        }
        throw thrown;
      });
      // Another request may have come meanwhile.
      const member = own(id, tenant);
      heardAtMs = clock.nowMs();
      member?.lease[Symbol.dispose]();
      if (member && before === kept) member.lease = lease(id);
      else {
        members.set(id, { record, tenant, revision: ++revision, lease: lease(id) });
        if (!looking) {
          lookedAtMs = clock.nowMs();
          looking = clock.timer(lookMs, look);
        }
        gone.delete(id);
        expectMembers();
        sink?.put(record);
      }
      returned(id, request.earlier);
      // Until all are back, the number from before counts.
      const most = Math.max(members.size, clock.nowMs() < settledAtMs ? expected : 0);
      return { schemaVersion: 1, leaseMs, packages: packages ?? [], earlier: { instance, members: most } };
    },
    leave(raw, tenant) {
      const { id } = leaveRequestFrom(raw, "the request");
      if (own(id, tenant)) remove(id);
    },
    list(since) {
      lookForAliases();
      const [, mark = ""] = since?.startsWith(`${instance}:`) === true ? since.split(":") : [];
      const from = /^[0-9]{1,15}$/.test(mark) ? Number(mark) : -1;
      const settled = clock.nowMs() >= settledAtMs;
      const full = settled && (from < floor || from > revision);
      const changed = [...members.values(), ...told.values()].filter((one) => full || one.revision > from);
      return {
        schemaVersion: 1,
        // Requests with a page of the grace time get everything, including the removal of endpoints that did not return.
        at: `${instance}:${settled ? revision : "settling"}`,
        full,
        ...(settled ? {} : { settling: true }),
        records: changed.map(({ record }) => record),
        gone: full ? [] : [...gone].filter(([, at]) => at > from).map(([id]) => id),
      };
    },
    follow(follower) {
      sink = follower;
      if (expectsMembers || remembered || members.size > 0) expectMembers();
      const begin = (): void => {
        follower.all(Array.from(members.values(), ({ record }) => record));
        const confirm = (): void => {
          follower.confirmed();
          confirming = clock.timer(confirmMs, confirm);
        };
        confirming = clock.timer(confirmMs, confirm);
      };
      if (graceMs === 0 || !remembered) begin();
      else {
        follower.failed(
          new LongshoreError(
            "no-answer",
            "resolve",
            "endpoints that were here before have time to join again",
          ),
        );
        confirming = clock.timer(graceMs, begin);
      }
      return {
        [Symbol.asyncDispose]: () => {
          sink = undefined;
          confirming?.[Symbol.dispose]();
          settling?.[Symbol.dispose]();
          return Promise.resolve();
        },
      };
    },
    [Symbol.dispose]() {
      confirming?.[Symbol.dispose]();
      settling?.[Symbol.dispose]();
      looking?.[Symbol.dispose]();
      round?.[Symbol.dispose]();
      for (const { lease } of members.values()) lease[Symbol.dispose]();
      members.clear();
    },
  };
}
