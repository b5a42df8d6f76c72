import type { EndpointInfo, LongshoreEvent, WireRequest } from "@longshore/core";
import { type AliasChange, defaultTrialLimits } from "@longshore/core/internal";
import type { ModelStore } from "@longshore/engine";
import { virtualClock, type VirtualClock } from "@longshore/lab";
import { type RequestEnd, startApp, type StartedApp } from "./app.ts";
import { type Disk, emptyDisk } from "./disk.ts";
import { type EventLog, eventLog } from "./event-log.ts";
import { startGateway } from "./gateway.ts";
import { type Machine, machine } from "./machine.ts";
import { type ModelName, repositoryFiles, type RowRun } from "./models.ts";
import { type SimulatedOperator, simulatedOperator } from "./operator.ts";
import { packageDigests, pulledStore, startPackageHost } from "./package-host.ts";
import { drawHarm, type Harm } from "./harm.ts";
import { simulatedNetwork } from "./network.ts";
import { infoOf, type Surroundings } from "./parts.ts";
import { exchangeFaults, type Fault } from "./plan.ts";
import { randomFor } from "./seeds.ts";
import { type Started, startServer } from "./server.ts";
import { synchronousCrypto } from "./synchronous-crypto.ts";
import { aliasOfWorld, type AppSpec, type WorldSpec } from "./world-spec.ts";

/** A time in which a machine was not whole. */
export interface Disturbance {
  readonly machine: string;
  readonly fromMs: number;
  /** Infinity while it lasts. */
  untilMs: number;
  readonly kind: Fault["kind"];
}

/** A run of a row, and when it began. */
export interface TimedRun extends RowRun {
  readonly atMs: number;
}

/** An event of a machine. */
export interface MachineEvent {
  readonly machine: string;
  readonly event: LongshoreEvent;
}

/** Everything that is known of a world after its end. */
export interface WorldRun {
  readonly spec: WorldSpec;
  readonly faults: readonly Fault[];
  readonly outcomes: readonly RequestEnd[];
  readonly runs: readonly TimedRun[];
  readonly events: readonly MachineEvent[];
  readonly disturbances: readonly Disturbance[];
  /** Resources still held after a long time without requests, in words; empty without any. */
  readonly leftOver: readonly string[];
  readonly log: EventLog;
  /** When the operator had set the alias of the world; Infinity if it never was. */
  readonly aliasSetMs: number;
  /** When the last request was to be answered. */
  readonly endMs: number;
}

/** How long a world rests before the check that nothing is left, in milliseconds. Idle machines go on to poll each other. */
const shortRestMs = 3000;
/** A rest that outlasts everything that is kept for a while. Some worlds rest this long. */
const longRestMs = 130_000;
/** One seed in this many rests for long. */
const longRestEvery = 16;
/** The model that the fault `unload` takes from a server. */
export const unloadedModel: ModelName = "sum";
/** How long a stopped machine has, in milliseconds. */
const graceMs = 5000;

/** One machine of a world over all of its lives. */
interface Slot {
  life: number;
  machine: Machine;
  /** Undefined while it starts, and while it is dead. */
  started: Started | undefined;
}

/** Runs a world to its end. The same world and faults give the same run, byte for byte. */
export async function runWorld(spec: WorldSpec, faults: readonly Fault[]): Promise<WorldRun> {
  using _synchronous = synchronousCrypto();
  const clock = virtualClock();
  const world = new World(clock, spec, faults);
  return await world.run();
}

class World {
  readonly #clock: VirtualClock;
  readonly #spec: WorldSpec;
  readonly #faults: readonly Fault[];
  readonly #log: EventLog;
  readonly #surroundings: Surroundings;
  readonly #slots = new Map<string, Slot>();
  readonly #slow = new Map<string, number>();
  readonly #cut = new Set<string>();
  readonly #harms: { readonly fault: Fault; readonly draw: () => Harm | undefined }[] = [];
  readonly #outcomes: RequestEnd[] = [];
  readonly #runs: TimedRun[] = [];
  readonly #events: MachineEvent[] = [];
  readonly #disturbances: Disturbance[] = [];
  readonly #operator: SimulatedOperator = simulatedOperator();
  readonly #disks = new Map<string, Disk>();
  readonly #apps: { readonly name: string; readonly machine: Machine; readonly app: StartedApp }[] = [];
  #aliasSetMs = Infinity;
  /** No machine is started any more. */
  #closing = false;

  constructor(clock: VirtualClock, spec: WorldSpec, faults: readonly Fault[]) {
    this.#clock = clock;
    this.#spec = spec;
    this.#faults = faults;
    this.#log = eventLog(clock);
    const network = simulatedNetwork({
      world: clock,
      seed: spec.seed,
      log: this.#log,
      weather: {
        cut: (from, to) => this.#cut.has(from) || this.#cut.has(to),
        harm: (_from, to, request) => {
          for (const { fault, draw } of this.#harms)
            if (fault.machine === to && concerns(fault, request)) return draw();
          return undefined;
        },
      },
    });
    this.#surroundings = {
      network,
      event: (name, event) => {
        this.#events.push({ machine: name, event });
        if (event.kind === "failure")
          this.#log.write(`${name} failure ${event.reason} ${event.stage} ${event.callId}: ${event.message}`);
        if (event.kind === "leg-started")
          this.#log.write(`${name} leg ${event.callId} ${event.leg} ${event.endpoint} ${event.trigger}`);
        if (event.kind === "leg-late")
          this.#log.write(`${name} late ${event.callId} ${event.leg} ${event.because} ${event.begun}`);
        if (event.kind === "directory-changed")
          this.#log.write(`${name} directory ${event.change} ${event.endpoint}`);
      },
      note: (name, text) => this.#log.write(`${name} ${text}`),
      ran: (run) => {
        this.#runs.push({ ...run, atMs: clock.nowMs() });
        this.#log.write(`${run.machine} runs ${run.model} for ${run.tag}`);
      },
      slowness: (name) => this.#slow.get(name) ?? 1,
    };
  }

  async run(): Promise<WorldRun> {
    const { gateway, servers, packages, apps, untilMs } = this.#spec;
    const starts = [
      ...(packages === undefined ? [] : [this.#start(packages)]),
      ...(gateway ? [this.#start(gateway.name)] : []),
      ...servers.map(({ name }) => this.#start(name)),
      ...apps.map((app) => this.#startApp(app)),
    ];
    await this.#clock.runUntil(Promise.all(starts));
    this.#rollOut();
    for (const [index, fault] of this.#faults.entries()) {
      this.#clock.timer(Math.max(0, fault.atMs - this.#clock.nowMs()), () => this.#strike(fault, index));
    }
    const asked = this.#apps.map(({ app }) =>
      app.run((outcome) => {
        this.#outcomes.push(outcome);
        const { request, reason, values, where, message } = outcome;
        this.#log.write(
          `${outcome.app} request ${request.tag} ${reason === undefined ? `${where} ${values?.join(" ")}` : `${reason} ${message}`}`,
        );
      }),
    );
    const longestMs = Math.max(
      0,
      ...apps.flatMap(({ requests, sequences }) =>
        [...requests, ...sequences.flatMap(({ steps }) => steps)].map(({ deadlineMs }) => deadlineMs),
      ),
    );
    const endMs = untilMs + longestMs;
    const tooLate = new Promise<void>(
      (resolve) => void this.#clock.timer(endMs + 1000 - this.#clock.nowMs(), resolve),
    );
    await this.#clock.runUntil(Promise.race([Promise.all(asked), tooLate]));
    // Faults that still last by then are mended first.
    const mendedMs = Math.max(0, ...this.#faults.map(({ atMs, forMs }) => atMs + forMs + graceMs));
    await this.#clock.advance(Math.max(0, mendedMs - this.#clock.nowMs()));
    await this.#clock.advance(this.#spec.seed % longRestEvery === 0 ? longRestMs : shortRestMs);
    const leftOver = this.#held();
    await this.#close(leftOver);
    return {
      spec: this.#spec,
      faults: this.#faults,
      outcomes: this.#outcomes,
      runs: this.#runs,
      events: this.#events,
      disturbances: this.#disturbances,
      leftOver,
      log: this.#log,
      aliasSetMs: this.#aliasSetMs,
      endMs,
    };
  }

  #diskOf(name: string): Disk {
    const disk = this.#disks.get(name) ?? emptyDisk();
    this.#disks.set(name, disk);
    return disk;
  }

  /** Sets the alias of the world, starts a canary and ends it: each as often as it takes. */
  #rollOut(): void {
    const { gateway } = this.#spec;
    if (!gateway?.rollout) return;
    const { startMs, endMs, how } = gateway.rollout;
    const change = (atMs: number, asked: () => AliasChange, done: () => boolean): void => {
      const turn = (): void => {
        const rollouts = this.#slots.get(gateway.name)?.started?.rollouts;
        if (this.#closing || done()) return;
        const revision = rollouts?.find(aliasOfWorld)?.revision ?? 0;
        const again = (): void => void this.#clock.timer(700, turn);
        const own = this.#slots.get(gateway.name)?.machine;
        // A machine that dies loses its answer: the operator sends the request again.
        void own?.onDeath(again);
        rollouts?.change(aliasOfWorld, { revision, change: asked() }, "operator").then(
          () => {
            this.#aliasSetMs = Math.min(this.#aliasSetMs, this.#clock.nowMs());
            this.#log.write(`${gateway.name} rollout ${JSON.stringify(asked())}`);
          },
          (thrown: unknown) => {
            this.#log.write(`${gateway.name} rollout failed: ${String(thrown).slice(0, 120)}`);
            again();
          },
        );
        if (!rollouts) again();
      };
      this.#clock.timer(Math.max(0, atMs - this.#clock.nowMs()), turn);
    };
    const find = () => this.#slots.get(gateway.name)?.started?.rollouts?.find(aliasOfWorld);
    change(
      300,
      () => ({ do: "set", model: "sum", version: "1" }),
      () => find() !== undefined,
    );
    const start: AliasChange = {
      do: "start",
      version: "2",
      mode: "canary",
      weightRatio: 0.5,
      by: "request",
      limits: defaultTrialLimits,
    };
    change(
      startMs,
      () => start,
      () => find()?.trial !== undefined || find()?.stable.version === "2",
    );
    change(
      endMs,
      () => ({ do: how }),
      () => find() !== undefined && find()?.trial === undefined,
    );
  }

  /** Resources that should have been released by now. */
  #held(): string[] {
    const leftOver: string[] = [];
    for (const [name, { started }] of this.#slots) {
      const inFlight = started?.inFlight() ?? 0;
      if (inFlight > 0) leftOver.push(`${name} still counts ${inFlight} requests under way`);
    }
    return leftOver;
  }

  async #close(leftOver: string[]): Promise<void> {
    this.#closing = true;
    const closing = async (): Promise<void> => {
      for (const { app } of this.#apps) await app.close();
      for (const { name } of this.#spec.servers) await this.#slots.get(name)?.started?.close(graceMs);
      const { gateway, packages } = this.#spec;
      if (packages !== undefined) await this.#slots.get(packages)?.started?.close(graceMs);
      if (gateway) await this.#slots.get(gateway.name)?.started?.close(graceMs);
    };
    let closed = false;
    void closing().then(() => (closed = true));
    await this.#clock.advance(60_000);
    if (!closed) leftOver.push("closing did not come to an end within 60 s");
    const machines = [
      ...Array.from(this.#slots.values(), (slot) => slot.machine),
      ...this.#apps.map((one) => one.machine),
    ];
    for (const { name, armed } of machines) {
      if (armed > 0) leftOver.push(`${name} has ${armed} timers after it was closed`);
    }
  }

  async #start(name: string): Promise<void> {
    const { servers, gateway, packages, sumVersions, seed } = this.#spec;
    const life = (this.#slots.get(name)?.life ?? 0) + 1;
    const fresh = machine(this.#clock, seed, name, life);
    const slot: Slot = { life, machine: fresh, started: undefined };
    this.#slots.set(name, slot);
    this.#log.write(`${name} starts`);
    const server = servers.find((one) => one.name === name);
    if (name === packages) {
      slot.started = await startPackageHost(name, fresh, this.#surroundings, allModels, this.#packageFiles());
    } else if (server) {
      slot.started = await startServer(server, fresh, this.#surroundings, {
        sumVersions,
        ...(gateway?.joined ? { directoryAt: `http://${gateway.name}` } : {}),
        ...(gateway?.signed ? { entry: () => this.#operator.entryOf(server) } : {}),
        ...(packages === undefined
          ? {}
          : { pulls: (stop: AbortSignal) => this.#pull(fresh, packages, server.models, stop) }),
      });
    } else if (gateway) {
      slot.started = await startGateway(
        gateway,
        fresh,
        this.#surroundings,
        gateway.joined ? undefined : this.#listed(),
        {
          disk: this.#diskOf(name),
          leaseMs: gateway.leaseMs,
          ...(gateway.signed ? { ring: this.#operator.ring } : {}),
        },
      );
    }
  }

  #packageFiles() {
    return repositoryFiles(allModels, this.#spec.sumVersions);
  }

  async #pull(
    own: Machine,
    host: string,
    models: readonly ModelName[],
    stop: AbortSignal,
  ): Promise<ModelStore> {
    const wanted = await packageDigests(models, this.#packageFiles());
    return pulledStore(own, this.#surroundings, host, wanted, this.#diskOf(own.name), stop);
  }

  /** Servers as an operator lists them. */
  #listed(): readonly EndpointInfo[] {
    return this.#spec.servers.map((server) => infoOf(server.name, server));
  }

  async #startApp(app: AppSpec): Promise<void> {
    const { gateway, seed } = this.#spec;
    const own = machine(this.#clock, seed, app.name, 1);
    const listed =
      app.reach === "gateway" && gateway
        ? [infoOf(gateway.name, { tier: "edge", zone: gateway.zone, trust: "vouched" })]
        : this.#listed();
    const found =
      app.reach === "directory" && gateway
        ? {
            directoryAt: `http://${gateway.name}`,
            disk: this.#diskOf(app.name),
            ...(gateway.signed ? { ring: this.#operator.ring } : {}),
          }
        : undefined;
    const started = await startApp(app, own, this.#surroundings, listed, found);
    this.#apps.push({ name: app.name, machine: own, app: started });
  }

  #disturb(fault: Fault, untilMs = Infinity): Disturbance {
    const disturbance: Disturbance = {
      machine: fault.machine,
      kind: fault.kind,
      fromMs: this.#clock.nowMs(),
      untilMs,
    };
    this.#disturbances.push(disturbance);
    return disturbance;
  }

  #strike(fault: Fault, index: number): void {
    const { kind, machine: name, forMs, amount, ratio } = fault;
    const slot = this.#slots.get(name);
    if (!slot || this.#closing) return;
    this.#log.write(`fault ${kind} at ${name} for ${forMs} ms`);
    const clock = this.#clock;
    const own = slot.machine;
    const later = (ms: number, work: () => void): void => void clock.timer(ms, work);
    const over = (disturbance: Disturbance): void => {
      disturbance.untilMs = clock.nowMs();
      this.#log.write(`fault ${kind} at ${name} is over`);
    };
    if (exchangeFaults.has(kind)) {
      const random = randomFor(this.#spec.seed, `fault ${index}`);
      const hit = (): Harm | undefined =>
        random.next() < ratio ? drawHarm(harmOf(kind), random, amount) : undefined;
      const harm = { fault, draw: hit };
      this.#harms.push(harm);
      const disturbance = this.#disturb(fault);
      later(forMs, () => {
        this.#harms.splice(this.#harms.indexOf(harm), 1);
        over(disturbance);
      });
      return;
    }
    switch (kind) {
      case "kill": {
        if (own.state === "dead") return;
        own.kill();
        const disturbance = this.#disturb(fault);
        later(forMs, () => this.#restart(name, slot, () => over(disturbance)));
        return;
      }
      case "drain": {
        const { started } = slot;
        if (!started || own.state === "dead") return;
        const disturbance = this.#disturb(fault);
        const ended = started.close(graceMs).then(() => {
          own.kill();
          later(forMs, () => this.#restart(name, slot, () => over(disturbance)));
        });
        void ended;
        return;
      }
      case "freeze": {
        own.freeze();
        const disturbance = this.#disturb(fault);
        later(forMs, () => {
          own.thaw();
          over(disturbance);
        });
        return;
      }
      case "slow": {
        this.#slow.set(name, amount);
        const disturbance = this.#disturb(fault);
        later(forMs, () => {
          this.#slow.delete(name);
          over(disturbance);
        });
        return;
      }
      case "partition": {
        this.#cut.add(name);
        const disturbance = this.#disturb(fault);
        later(forMs, () => {
          this.#cut.delete(name);
          this.#surroundings.network.changed();
          over(disturbance);
        });
        return;
      }
      case "power-cut": {
        if (own.state === "dead") return;
        // No machine is told: packets of others meet silence.
        this.#cut.add(name);
        own.kill();
        const disturbance = this.#disturb(fault);
        later(forMs, () => {
          this.#cut.delete(name);
          this.#surroundings.network.changed();
          this.#restart(name, slot, () => over(disturbance));
        });
        return;
      }
      case "disk-full": {
        const disk = this.#diskOf(name);
        disk.full = true;
        const disturbance = this.#disturb(fault);
        later(forMs, () => {
          disk.full = false;
          over(disturbance);
        });
        return;
      }
      case "unload": {
        const { models } = slot.started ?? {};
        if (!models) return;
        const disturbance = this.#disturb(fault);
        void models.unload(unloadedModel);
        later(forMs, () => {
          const anew = this.#slots.get(name) !== slot;
          if (anew || own.state === "dead") over(disturbance);
          else void models.load(unloadedModel).then(() => over(disturbance));
        });
        return;
      }
      case "replace-model": {
        // From then on servers have different contents under one name: which of them answers is not promised.
        for (const server of this.#spec.servers) this.#disturb({ ...fault, machine: server.name });
        void slot.started?.models?.replaceSum();
        return;
      }
      case "swap-key": {
        this.#operator.swapKey();
        const disturbed = this.#spec.servers.map((server) =>
          this.#disturb({ ...fault, machine: server.name }),
        );
        later(forMs, () => {
          this.#operator.signAnew();
          disturbed.forEach(over);
        });
        return;
      }
      case "entry-ends": {
        this.#operator.endAt(name, clock.wallMs() + 100);
        const disturbance = this.#disturb(fault);
        later(forMs, () => {
          this.#operator.endAt(name, Infinity);
          over(disturbance);
        });
        return;
      }
      case "wall-jump":
        // It must have no effect on others.
        own.jumpWall(amount);
        return;
      default:
        return;
    }
  }

  /** A dead machine begins its next life, unless another fault has begun it already. */
  #restart(name: string, before: Slot, begun: () => void): void {
    if (this.#closing || this.#slots.get(name) !== before) return begun();
    void this.#start(name).then(begun);
  }
}

const allModels: readonly ModelName[] = ["sum", "deep", "count"];

/** Whether a fault is of exchanges like this one. */
function concerns({ kind }: Fault, { method, path }: WireRequest): boolean {
  if (kind === "unheard-joins") return method === "POST" && path.startsWith("/v2/directory");
  if (kind === "unread-directory") return method === "GET" && path.startsWith("/v2/directory");
  return true;
}

/** The effect of a fault of exchanges on one of them. */
function harmOf(kind: Fault["kind"]): Harm["kind"] {
  return kind === "unheard-joins" || kind === "unread-directory" ? "lose-request" : (kind as Harm["kind"]);
}
