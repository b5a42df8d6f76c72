import type { OutputMessage } from "./runner-message.ts";
import { aligned } from "./shared-page.ts";

/** Outputs in the shared page. */
export interface PlacedOutputs {
  readonly outputs: readonly OutputMessage[];
  /** Whether they have the names, types, shapes and positions of the previous run. */
  readonly same: boolean;
}

/** Writes the outputs of one session's runs into the shared page. */
export interface OutputPage {
  /** Undefined if they do not fit, or contain text. */
  place(outputs: readonly OutputMessage[]): PlacedOutputs | undefined;
}

function sameAs(last: readonly OutputMessage[], outputs: readonly OutputMessage[]): boolean {
  return (
    last.length === outputs.length &&
    outputs.every(({ name, type, dims }, index) => {
      const before = last[index];
      return (
        before?.name === name &&
        before.type === type &&
        before.dims.length === dims.length &&
        dims.every((size, axis) => size === before.dims[axis])
      );
    })
  );
}

/** Uses the page's part for outputs. */
export function outputPage(page: Uint8Array): OutputPage {
  let last: readonly OutputMessage[] | undefined;
  return {
    place(outputs) {
      let size = 0;
      for (const { data, type } of outputs) {
        // Texts of equal number may differ in length from the previous ones.
        if (!ArrayBuffer.isView(data) || type === "string") size = Infinity;
        else size = aligned(size + data.byteLength);
      }
      if (size > page.byteLength) {
        last = undefined;
        return undefined;
      }
      let offset = 0;
      const places = outputs.map(({ data }) => {
        // The sum above is finite, so all are views.
        const { buffer, byteOffset, byteLength } = data as ArrayBufferView;
        page.set(new Uint8Array(buffer, byteOffset, byteLength), offset);
        const place = { offset, byteLength };
        offset = aligned(offset + byteLength);
        return place;
      });
      if (last && sameAs(last, outputs)) return { outputs: last, same: true };
      last = outputs.map((output, index) => ({ ...output, data: places[index] ?? output.data }));
      return { outputs: last, same: false };
    },
  };
}
