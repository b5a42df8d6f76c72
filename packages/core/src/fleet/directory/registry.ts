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
  type JoinReply,
  joinRequestFrom,
  type JoinRequest,
  leaveRequestFrom,
} from "./join-json.ts";
import { type RecordRules, recordsOf } from "./records.ts";
import type { RecordSink, RecordSource } from "./source.ts";

/** What a registry is made of. */
export interface RegistryParts extends RecordRules {
  readonly clock: Clock;
  /** Tells this registry from the one before a restart. */
  readonly instance: string;
  /** An endpoint that is silent for this long is gone, in milliseconds. Default 15,000. Not while nobody could be heard here. */
  readonly leaseMs?: number;
  /**
   * The operator's word about endpoints that bring no entry: at most this they can be. Undefined: none may join without one.
   * Their tier is what they say unless it is stated.
   */
  readonly admits?: Pick<DirectoryEntry, "zone" | "trust"> & Partial<Pick<DirectoryEntry, "tier">>;
  /** The operator's entry of an endpoint from elsewhere; of this and what it brings the one with the later serial counts. Default: none. */
  readonly known?: (id: EndpointId) => Signed<DirectoryEntry> | undefined;
  /** Aliases that the operator signed, from elsewhere, to be passed on as they came. Default: none. */
  readonly aliases?: () => readonly Json[];
  /**
   * After a start nobody counts as gone for this long, in milliseconds: who was there before gets the time to join again, and
   * those who read this over the network go on with what they know. Default two leases, the longest pause of an endpoint that tries
   * to join and one more.
   */
  readonly graceMs?: number;
  /**
   * Whether an endpoint answers now. One whose lease is over stays as long as it does: its word was lost on the way here, and it is well.
   * Default: none does.
   */
  readonly answers?: (info: EndpointInfo) => Promise<boolean>;
  /** Who follows this here remembers endpoints across restarts, so that the same holds for it. Default: it begins with none. */
  readonly remembered?: boolean;
}

/** What a server offers of a directory over the network. */
export interface DirectoryDesk {
  /** Renews when the endpoint is there already. Throws what the reader of records throws, and `not-permitted` for others' endpoints. */
  join(request: unknown, tenant: TenantId): Promise<JoinReply>;
  leave(request: unknown, tenant: TenantId): void;
  /** What changed since a page before; everything when that cannot be told. */
  list(since: string | undefined): DirectoryPage;
}

/** Endpoints that join this process over the network, and a source of a directory. */
export interface Registry extends RecordSource, DirectoryDesk, Disposable {}

interface Member {
  readonly record: DirectoryRecord;
  readonly tenant: TenantId;
  readonly revision: number;
  lease: Disposable;
}

/** Endpoints that are gone and still told to those who ask what changed. */
const maxGone = 4096;
/** How often a registry says that it is in touch with itself, in milliseconds. */
const confirmMs = 2000;
/** How often in a lease it looks whether this process stood still. */
const looksPerLease = 8;
/** A registry that no member renews at for this share of a lease is out of their reach. */
const heardRatio = 0.5;
const forever = { notBeforeMs: 0, notAfterMs: 253_402_300_799_999 };

/** Starts without members. Their leases keep time by `clock`. */
export function createRegistry(parts: RegistryParts): Registry {
  const { clock, instance, leaseMs = 15_000, admits, ring, codecs, maxRecords } = parts;
  const { graceMs = 2 * leaseMs, remembered = false } = parts;
  const settledAtMs = clock.nowMs() + graceMs;
  const records = recordsOf({
    codecs,
    ...(ring ? { ring } : {}),
    ...(maxRecords === undefined ? {} : { maxRecords }),
    // An entry without signature is one that was made here.
    unsignedTrust: "vouched",
  });
  const members = new Map<EndpointId, Member>();
  const gone = new Map<string, number>();
  /** Aliases that were told, by id. */
  const told = new Map<string, { readonly record: Json; readonly revision: number }>();
  let revision = 0;
  /** Changes up to this one are not all remembered. */
  let floor = 0;
  let sink: RecordSink | undefined;
  let confirming: Disposable | undefined;
  const lookMs = leaseMs / looksPerLease;
  let lookedAtMs = -Infinity;
  let looking: Disposable | undefined;
  /** When a member last joined or renewed. */
  let heardAtMs = -Infinity;

  function refuse(message: string): never {
    throw new LongshoreError("not-permitted", "identify", message);
  }

  /** The operator's word about an endpoint: what it brings or what is known here, whichever is later, or the general one. */
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

  /** Looks which aliases there are now. */
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
    if (member && member.tenant !== tenant) refuse(`${id} joined as somebody else`);
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

  /** Removes a member whose lease is over, unless it answers, or renews while it is asked. */
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

  /** Whether another member has the address by now: what answers there is that one. */
  function isReplaced({ id, address }: EndpointInfo): boolean {
    return [...members.keys()].some(
      (other) => other !== id && records.kept.get(other)?.info.address === address,
    );
  }

  /**
   * Whether nobody renewed for half a lease, though members do so several times in each: then it is this registry that is out of their
   * reach, and a lease that ends says nothing about its member. Readers find out by themselves which endpoints answer.
   */
  function nowHeardNobody(): boolean {
    return clock.nowMs() - heardAtMs > heardRatio * leaseMs;
  }

  /**
   * Whether this process stood still (it was stopped, or its machine was): who renewed meanwhile was not heard, so all begin again, with
   * the time that they get after a restart.
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
    async join(raw, tenant) {
      const request = joinRequestFrom(raw, "the request");
      const { id, statement } = request;
      own(id, tenant);
      const signed = wordOn(request);
      const { member: named, packages } = signed.body;
      if (named !== undefined && named !== tenant)
        refuse(`${id} may be joined by ${named}, and this is somebody else`);
      const record: DirectoryRecord = { signed, statement };
      const before = records.kept.get(id);
      const kept = await records.take(record).catch((thrown: unknown) => {
        if (!records.kept.has(id)) {
          records.drop(id);
          // By its own word it is not where it is listed: until its lease is over it would get what may not go there.
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
        sink?.put(record);
      }
      return { schemaVersion: 1, leaseMs, packages: packages ?? [] };
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
        // What is asked after a page of the time before is told whole, with those who did not come back.
        at: `${instance}:${settled ? revision : "settling"}`,
        full,
        records: changed.map(({ record }) => record),
        gone: full ? [] : [...gone].filter(([, at]) => at > from).map(([id]) => id),
      };
    },
    follow(follower) {
      sink = follower;
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
          return Promise.resolve();
        },
      };
    },
    [Symbol.dispose]() {
      confirming?.[Symbol.dispose]();
      looking?.[Symbol.dispose]();
      for (const { lease } of members.values()) lease[Symbol.dispose]();
      members.clear();
    },
  };
}
