import type { Program } from "./program.ts";
import type { NewStep, ProgramBuilder } from "./program-builder.ts";

/**
 * Puts the steps of another model's program in place of the step that runs it: inner step `s` becomes `<step>-<s>`.
 * Under `forEach` every inner step that touches an element runs for each element; the others run once.
 *
 * @returns the value for each output of the inner model
 */
export function inlineProgram(
  builder: ProgramBuilder,
  step: NewStep,
  inner: Program,
  bad: (path: string, problem: string) => Error,
): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const { name } of inner.inputs) {
    const value = step.inputs[name];
    if (value === undefined) throw bad(`pipeline step ${step.id}`, `gives its model no ${name}`);
    names.set(name, value);
  }
  for (const port of Object.keys(step.inputs)) {
    if (names.has(port)) continue;
    throw bad(
      `pipeline step ${step.id}`,
      `gives its model an input ${JSON.stringify(port)}; it takes ${[...names.keys()].join(", ")}`,
    );
  }
  const apart = new Set<string>();
  if (step.forEach !== undefined) {
    for (const value of Object.values(step.inputs)) {
      if (value === step.forEach || builder.values.get(value)?.spec.ragged) apart.add(value);
    }
  }
  const last = new Set(inner.outputs.map(({ value }) => value));
  for (const one of inner.steps) {
    const id = inner.bare ? step.id : `${step.id}-${one.id}`;
    const inputs = Object.fromEntries(
      Object.entries(one.inputs).map(([port, value]) => [port, names.get(value) ?? value]),
    );
    const element = Object.values(inputs).find((value) => apart.has(value));
    if (element !== undefined && one.forEach !== undefined) {
      throw bad(
        `pipeline step ${step.id}`,
        `runs for each element a model that does so itself (its step ${one.id})`,
      );
    }
    const over = element ?? (one.forEach === undefined ? undefined : (names.get(one.forEach) ?? one.forEach));
    const declassifiesTo = one.outputs.some(({ value }) => last.has(value)) ? step.declassifiesTo : undefined;
    const added: NewStep = {
      id,
      inputs,
      ...(over === undefined ? {} : { forEach: over }),
      ...((one.declassifiesTo ?? declassifiesTo) === undefined
        ? {}
        : { declassifiesTo: one.declassifiesTo ?? declassifiesTo ?? "" }),
    };
    if (one.kind === "model") builder.addModel(added, one);
    else if (one.kind === "elsewhere") builder.addElsewhere(added, one);
    else builder.addTransform(added, one.chain);
    for (const { port, value } of one.outputs) {
      names.set(value, `${id}.${port}`);
      if (element !== undefined) apart.add(`${id}.${port}`);
    }
  }
  return new Map(inner.outputs.map(({ name, value }) => [name, names.get(value) ?? value]));
}
