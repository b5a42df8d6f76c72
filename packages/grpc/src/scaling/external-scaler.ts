import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { LongshoreError } from "@longshore/core";
import {
  GetMetricSpecResponseSchema,
  GetMetricsRequestSchema,
  GetMetricsResponseSchema,
  IsActiveResponseSchema,
  type ScaledObjectRef,
  ScaledObjectRefSchema,
} from "../proto/external_scaler_pb.ts";
import type { GrpcService, MethodCall } from "../service/index.ts";

const serviceName = "externalscaler.ExternalScaler";

/** The subject of a question by a ScaledObject of KEDA. */
export interface ScaleTarget {
  /** Of the ScaledObject. */
  readonly name: string;
  readonly namespace: string;
  /** The trigger's metadata, such as `model` and `objective`. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** The number for one target. A part is undefined while it is not known. */
export interface ScaleNumber {
  /** Endpoints that are needed. */
  readonly needed: number | undefined;
  /** Whether at least one is needed now. */
  readonly active: boolean | undefined;
}

/** Where the numbers come from. */
export interface ScaleNumbers {
  /** The number that is kept now; computes nothing of note. Throws what is wrong with the target's metadata. */
  of(target: ScaleTarget): ScaleNumber;
  /** Calls `changed` when numbers may have changed. */
  watch(changed: () => void): Disposable;
}

/** Parts of the service. */
export interface ExternalScalerOptions {
  readonly numbers: ScaleNumbers;
  /** Name of the metric. Default `longshore-needed-endpoints`. */
  readonly metricName?: string;
}

async function asked<T extends DescMessage>(call: MethodCall, schema: T): Promise<MessageShape<T>> {
  const bytes = await call.next();
  if (!bytes) throw new LongshoreError("invalid-input", "decode", "the call ended without a message");
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    const what = `the message is no ${schema.typeName} of ${serviceName}`;
    throw new LongshoreError("invalid-input", "decode", what, { cause });
  }
}

/** After an error KEDA and the HPA that it makes leave the number of endpoints as it is. */
function known<T>(value: T | undefined): T {
  if (value !== undefined) return value;
  throw new LongshoreError("starting", "resolve", "not enough requests were seen yet to tell");
}

function targetOf({ name, namespace, scalerMetadata }: ScaledObjectRef): ScaleTarget {
  return { name, namespace, metadata: scalerMetadata };
}

/**
 * KEDA's `external` and `external-push` trigger. The metric is the number of endpoints and its target is 1, so that the HPA that KEDA makes
 * asks for exactly that number. `StreamIsActive` tells at once when the first request comes. What is not known is an error (UNAVAILABLE), or not
 * told yet in a stream: KEDA would take a 0 for idleness.
 */
export function externalScaler({
  numbers,
  metricName = "longshore-needed-endpoints",
}: ExternalScalerOptions): GrpcService {
  const active = (result: boolean): Uint8Array =>
    toBinary(IsActiveResponseSchema, create(IsActiveResponseSchema, { result }));
  return {
    name: serviceName,
    methods: {
      async IsActive(call) {
        const target = targetOf(await asked(call, ScaledObjectRefSchema));
        await call.send(active(known(numbers.of(target).active)));
      },
      async StreamIsActive(call) {
        const target = targetOf(await asked(call, ScaledObjectRefSchema));
        let told: boolean | undefined;
        let wake = (): void => undefined;
        using _watch = numbers.watch(() => wake());
        const end = (): void => wake();
        for (const signal of [call.call.abort, call.draining]) signal.addEventListener("abort", end);
        try {
          while (!call.call.abort.aborted && !call.draining.aborted) {
            const changed = new Promise<void>((resolve) => (wake = resolve));
            const now = numbers.of(target).active;
            if (now !== undefined && now !== told) await call.send(active(now));
            told = now;
            await changed;
          }
        } finally {
          for (const signal of [call.call.abort, call.draining]) signal.removeEventListener("abort", end);
        }
      },
      async GetMetricSpec(call) {
        // A target that is wrong is told here, where KEDA puts it into the events of the ScaledObject.
        numbers.of(targetOf(await asked(call, ScaledObjectRefSchema)));
        const spec = { metricName, targetSize: 1n, targetSizeFloat: 1 };
        const message = create(GetMetricSpecResponseSchema, { metricSpecs: [spec] });
        await call.send(toBinary(GetMetricSpecResponseSchema, message));
      },
      async GetMetrics(call) {
        const request = await asked(call, GetMetricsRequestSchema);
        const { scaledObjectRef, metricName: wanted } = request;
        if (!scaledObjectRef) {
          throw new LongshoreError("invalid-input", "decode", "the request names no ScaledObject");
        }
        if (wanted !== metricName) {
          const what = `there is no metric '${wanted.slice(0, 80)}' here; there is ${metricName}`;
          throw new LongshoreError("invalid-input", "decode", what);
        }
        const needed = known(numbers.of(targetOf(scaledObjectRef)).needed);
        const value = { metricName, metricValue: BigInt(needed), metricValueFloat: needed };
        const message = create(GetMetricsResponseSchema, { metricValues: [value] });
        await call.send(toBinary(GetMetricsResponseSchema, message));
      },
    },
  };
}
