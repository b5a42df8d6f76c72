/** Plans that never change, to compare a planner with: the same cut, endpoint and codecs for every request. */
import {
  type Account,
  type Clock,
  endCut,
  type Endpoint,
  LongshoreError,
  type Offloader,
  type Radio,
  type Result,
  type Segment,
  startCut,
  type Tensor,
  type Tensors,
} from "@longshore/core";
import {
  atDeadline,
  childCall,
  exchangeMillijoules,
  housekeepingCall,
  outputsOf,
  pastDeadline,
  radioState,
} from "@longshore/core/internal";

/** Where and how every request runs. */
export interface FixedPlan {
  readonly variant: string;
  /** Where the part here ends: `end` runs everything here, `start` nothing. */
  readonly cut: string;
  /** Endpoint of the rest; undefined when there is none. */
  readonly endpoint?: string;
  /** Where the part there ends and the rest runs here again; default `end`. */
  readonly back?: string;
  /** How the crossing travels, by tensor name; absent names travel raw. */
  readonly codecs: Readonly<Record<string, string>>;
}

/** The parts that follow fixed plans. */
export interface FixedPlanParts {
  readonly clock: Clock;
  readonly device: Endpoint;
  readonly endpoint: (id: string) => Endpoint | undefined;
  /** The whole of the model; the plan says in which variant. */
  readonly segment: Segment;
  /** The plan of the request that comes now. */
  readonly choose: () => FixedPlan;
  /** The device's power while it runs, in watts, and its radio: energy is estimated as the offloader estimates it. */
  readonly activeWatts: number;
  readonly radio: Radio;
}

/** A text for a plan: `here`, `edge jpeg-85`, `cut c3, then cloud raw`. */
export function planName({ variant, cut, endpoint, back = endCut, codecs }: FixedPlan): string {
  const coded = [...new Set(Object.values(codecs))].join("+") || "raw";
  const how =
    cut === endCut
      ? "here"
      : cut === startCut
        ? `${endpoint} ${coded}`
        : `cut ${cut}, then ${endpoint} ${coded}`;
  const whole = back === endCut || cut === endCut ? how : `${how}, back at ${back}`;
  return variant === "" || variant === "default" ? whole : `${whole} (${variant})`;
}

/**
 * Runs every request by the plan that is chosen for it, without beliefs, guards or second tries. Answers like an offloader; a leg that fails, or
 * a deadline that passes, rejects.
 */
export function followPlan(parts: FixedPlanParts): Pick<Offloader, "infer"> {
  const { clock, device } = parts;
  const state = radioState(parts.radio);

  async function run(
    plan: FixedPlan,
    tensors: Tensors,
    call: ReturnType<typeof housekeepingCall>,
  ): Promise<Result> {
    const endpoint = plan.endpoint === undefined ? undefined : parts.endpoint(plan.endpoint);
    const segment = { ...parts.segment, variant: plan.variant };
    const startedMs = clock.nowMs();
    const accounts: Account[] = [];
    let outputs = tensors;
    let millijoules = 0;
    if (plan.cut !== startCut) {
      const head = { ...segment, to: plan.cut };
      const response = await device.infer({ segment: head, inputs: tensors, codecs: {} }, call);
      accounts.push(response.account);
      ({ outputs } = response);
      millijoules += stageMs(response.account, "run", "transform") * parts.activeWatts;
    }
    if (plan.cut !== endCut) {
      if (!endpoint)
        throw new LongshoreError("no-endpoint", "plan", `${planName(plan)} names no endpoint that is here`);
      const sentMs = clock.nowMs();
      const exchange = state.begun(sentMs);
      const tail = { ...segment, from: plan.cut, to: plan.back ?? endCut };
      let upMs = 0;
      const response = await endpoint
        .infer({ segment: tail, inputs: outputs, codecs: plan.codecs }, call)
        .finally(() => (upMs = exchange.ended(clock.nowMs())));
      accounts.push(response.account);
      ({ outputs } = response);
      millijoules +=
        exchange.wakeMillijoules + usedMillijoules(response.account, clock.nowMs() - sentMs, upMs);
    }
    if (plan.cut !== endCut && plan.back !== undefined && plan.back !== endCut) {
      const rest = { ...segment, from: plan.back };
      const response = await device.infer({ segment: rest, inputs: outputs, codecs: {} }, call);
      accounts.push(response.account);
      ({ outputs } = response);
      millijoules += stageMs(response.account, "run", "transform") * parts.activeWatts;
    }
    const total = (of: (account: Account) => number): number =>
      accounts.reduce((sum, one) => sum + of(one), 0);
    const tookMs = clock.nowMs() - startedMs;
    return {
      outputs: outputsOf(outputs),
      where: plan.cut === endCut ? device.info.id : (endpoint?.info.id ?? ""),
      because: "this plan never changes",
      tookMs,
      predictedMs: NaN,
      predictedLabel: "assumed",
      plans: [],
      accounts,
      lostLegs: [],
      sentBytes: total((one) => one.sentBytes),
      receivedBytes: total((one) => one.receivedBytes),
      energy: { millijoules, label: "estimated" },
      costMicros: total((one) => one.costMicros),
    };
  }

  /** The energy of an exchange, which pays for `upMs` of its time. */
  function usedMillijoules(account: Account, tookMs: number, upMs: number): number {
    const { radio, activeWatts } = parts;
    const onAirMs = Math.min(tookMs, stageMs(account, "network", "send"));
    const movedMs = tookMs > 0 ? (upMs * onAirMs) / tookMs : upMs;
    return (
      exchangeMillijoules(radio, account.sentBytes, account.receivedBytes, movedMs, upMs - movedMs) +
      stageMs(account, "encode", "decode") * activeWatts
    );
  }

  return {
    async infer(model, inputs, limits = {}) {
      const { deadlineMs = Infinity } = limits;
      using child = childCall(housekeepingCall(model, limits.signal));
      using _late = atDeadline(clock, clock.nowMs() + deadlineMs, () =>
        child.cancel(pastDeadline("execute")),
      );
      return await run(
        parts.choose(),
        new Map(Object.entries(inputs as Readonly<Record<string, Tensor>>)),
        child.call,
      );
    },
  };
}

function stageMs(account: Account, ...stages: readonly string[]): number {
  return account.stages.reduce((sum, { stage, tookMs }) => sum + (stages.includes(stage) ? tookMs : 0), 0);
}
