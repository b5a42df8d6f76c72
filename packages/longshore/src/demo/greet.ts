import { type Call, type Endpoint, endCut, LongshoreError, startCut, type Tensors } from "@longshore/core";

/** A request with which a link is used for the first time. */
export interface Greeting {
  readonly model: string;
  readonly inputs: Tensors;
  readonly call: Call;
}

/**
 * Sends a request straight to every endpoint, so that a scene begins with links that have been used before: nothing is known
 * of a new link, and a day in a store rarely begins there. Endpoints that cannot be reached are left out.
 */
export async function greet(
  endpoints: readonly Endpoint[],
  { model, inputs, call }: Greeting,
): Promise<void> {
  const frames = [...inputs].filter(([, { spec }]) => spec.datatype === "UINT8" && spec.shape.length === 3);
  const codecs = Object.fromEntries(frames.map(([name]) => [name, "jpeg-85"]));
  const one = async (endpoint: Endpoint): Promise<void> => {
    try {
      const description = (await endpoint.describe(model, undefined, call))?.description;
      if (!description) return;
      const { version, digest, variants } = description;
      const variant = variants[0]?.name ?? "";
      const segment = { model, version, digest, variant, from: startCut, to: endCut };
      await endpoint.infer({ segment, inputs, codecs }, call);
    } catch (error) {
      if (call.abort.aborted || !LongshoreError.is(error)) throw error;
    }
  };
  // All at once: each has a link, a process and (with two cores) a core of its own.
  await Promise.all(endpoints.map(one));
}
