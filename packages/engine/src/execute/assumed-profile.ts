import {
  type BucketProfile,
  type CutProfile,
  type ModelKnowledge,
  type Profile,
  startCut,
  type TensorSpec,
} from "@longshore/core";
import { elementBytes, needsOthers } from "@longshore/core/internal";
import type { LoadedVersion, Program, ProgramStep } from "../repository/index.ts";
import { aroundElsewhere, cutAt, type Position } from "../run/index.ts";

/** Assumed duration of a step until runs are measured, in milliseconds. */
const assumedMs: Readonly<Record<ProgramStep["kind"], number>> = { transform: 5, model: 50, elsewhere: 50 };
/** Assumed size of an element of texts or files, in bytes. */
const textBytes = 64;

/** The knowledge of a version: its profile, or, if no single endpoint can run all of it, the cuts where it must be divided. */
export function versionKnowledge({ description, profile, programs }: LoadedVersion): ModelKnowledge {
  if (profile) return { description, profile };
  if (!needsOthers(description)) return { description };
  const { name: model, version, digest } = description;
  const assumed: Profile = {
    schemaVersion: 1,
    model,
    version,
    digest,
    measuredOn: { runtime: "none", threads: 0, description: "assumed: nobody measured it" },
    variants: description.variants.flatMap(({ name, agreementRatio }) => {
      const program = programs.get(name);
      return program ? [{ variant: name, agreementRatio, buckets: [assumedBucket(program)] }] : [];
    }),
  };
  return { description, profile: assumed };
}

function assumedBucket(program: Program): BucketProfile {
  const positions = aroundElsewhere(program);
  const times = program.steps.map(({ kind }) => assumedMs[kind]);
  const sum = (some: readonly number[]): number => some.reduce((total, one) => total + one, 0);
  const cuts = positions.map((position): CutProfile => {
    const { step } = position;
    return {
      cut: cutAt(program, position),
      headMs: [sum(times.slice(0, step))],
      tailMs: [sum(times.slice(step))],
      headMemoryBytes: 0,
      codings: [
        {
          codecs: {},
          bytes: bytesAt(program, position),
          encodeMs: 0,
          decodeMs: 0,
          agreementRatio: 1,
          lossless: true,
        },
      ],
    };
  });
  return {
    upTo: { bytes: Infinity },
    typical: { bytes: 1 },
    runs: 0,
    legalCuts: cuts.length,
    cuts,
  };
}

/** The bytes that are sent at a cut, in either direction. A model of other endpoints is sent only its own inputs. */
function bytesAt(program: Program, position: Position): number {
  const next = program.steps[position.step];
  // One byte stands for the input: the size of the real request scales it.
  if (position.id === startCut) return 1;
  const taken = next?.kind === "elsewhere" ? new Set(Object.values(next.inputs)) : undefined;
  return cutAt(program, position)
    .crossing.filter(({ name }) => taken?.has(name) ?? true)
    .reduce((total, spec) => total + bytesOf(spec), 0);
}

function bytesOf({ datatype, shape }: TensorSpec): number {
  return shape.reduce((count, size) => count * Math.max(1, size), 1) * (elementBytes(datatype) || textBytes);
}
