import {
  bytesTensor,
  float32Tensor,
  float32View,
  give,
  LongshoreError,
  numericTensor,
  tensorsOf,
  textElements,
} from "@longshore/core";
import { childCall, housekeepingCall, joinElements } from "@longshore/core/internal";
import type { ChainStep, Lane } from "@longshore/engine";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const call = housekeepingCall("lane");

const step = (
  id: string,
  transform: string,
  inputs: ChainStep["inputs"],
  parameters: ChainStep["parameters"] = {},
  forEach?: string,
): ChainStep => ({ id, transform, parameters, inputs, ...(forEach === undefined ? {} : { forEach }) });

/** An image of 4 x 4 grey levels from 0 to 15. */
const image = (): ReturnType<typeof numericTensor> =>
  numericTensor(
    "image",
    "UINT8",
    [4, 4, 1],
    Uint8Array.from({ length: 16 }, (_, index) => index),
  );

/** Two boxes of 2 x 3 and 2 x 1 pixels. */
const boxes = (): ReturnType<typeof float32Tensor> =>
  float32Tensor("boxes", [2, 4], Float32Array.of(0, 0, 3, 2, 2, 2, 3, 4));

const cropping = step("crop", "crop-image", { image: "image", boxes: "boxes" }, { turnTall: false });
const normalising = step("each", "normalise-image", { image: "crop.crops" }, { scale: 1 }, "crop.crops");

/** The contract of every `Lane` with the pure transforms (`engine/lane/lane.ts`). */
export function laneContract(name: string, make: () => Lane): void {
  describe(`lane contract: ${name}`, () => {
    let lane: Lane;
    beforeAll(() => {
      lane = make();
    });
    afterAll(() => lane.close());

    it("runs a chain in one go, returns only the kept values, and times every step", async () => {
      const chain = [
        step("soft", "softmax", { tensor: "scores" }),
        step("best", "top-k", { scores: "soft.tensor" }, { k: 1, labels: ["till", "shelf"] }),
      ];
      const scores = float32Tensor("scores", [1, 2], Float32Array.of(0, Math.log(3)));
      const { values, tookMs } = await lane.run(
        chain,
        tensorsOf(scores),
        ["best.labels", "best.scores"],
        call,
      );
      expect([...values.keys()]).toEqual(["best.labels", "best.scores"]);
      const [labels, best] = [...values.values()];
      expect(labels && textElements(labels)).toEqual(["shelf"]);
      expect(best && float32View(best)[0]).toBeCloseTo(0.75, 6);
      expect(best?.spec.name).toBe("best.scores");
      expect(tookMs).toHaveLength(2);
    });

    it("runs a step for each element and collects ragged values", async () => {
      const { values } = await lane.run(
        [cropping, normalising],
        tensorsOf(image(), boxes()),
        ["each.tensor"],
        call,
      );
      const tensor = values.get("each.tensor");
      expect(tensor?.spec).toMatchObject({ shape: [2, 1, 1, 2, -1], ragged: true });
      expect([...(tensor?.rows ?? [])]).toEqual([1, 1, 2, 3, 1, 1, 2, 1]);
      expect(tensor && [...float32View(tensor)]).toEqual([0, 1, 2, 4, 5, 6, 10, 14]);
    });

    it("takes values collected over the same elements apart together", async () => {
      const chain = [
        cropping,
        step("turn", "turn-upright", { image: "crop.crops", scores: "sides" }, {}, "crop.crops"),
      ];
      const side = (upsideDown: number): ReturnType<typeof float32Tensor> =>
        float32Tensor("side", [1, 2], Float32Array.of(1 - upsideDown, upsideDown));
      const sides = joinElements("sides", [side(0), side(1)], { datatype: "FP32", shape: [1, 2] });
      const { values } = await lane.run(chain, tensorsOf(image(), boxes(), sides), ["turn.image"], call);
      expect([...(values.get("turn.image")?.bytes ?? [])]).toEqual([0, 1, 2, 4, 5, 6, 14, 10]);
    });

    it("gives empty ragged values of the right type when there are no elements", async () => {
      const none = float32Tensor("boxes", [0, 4], new Float32Array(0));
      const { values } = await lane.run(
        [cropping, normalising],
        tensorsOf(image(), none),
        ["each.tensor"],
        call,
      );
      const tensor = values.get("each.tensor");
      expect(tensor?.spec).toMatchObject({ datatype: "FP32", shape: [0, 1, 1, -1, -1], ragged: true });
      expect(tensor?.bytes.byteLength).toBe(0);
      expect(tensor?.rows).toHaveLength(0);
    });

    it("runs over texts", async () => {
      const texts = bytesTensor("texts", ["Kassenbon", "Regal"]);
      const chain = [
        step("same", "join-text", { texts: "texts" }, {}, "texts"),
        step("all", "join-text", { texts: "same.text" }, { separator: "+" }),
      ];
      const { values } = await lane.run(chain, tensorsOf(texts), ["all.text"], call);
      const text = values.get("all.text");
      expect(text && textElements(text)).toEqual(["Kassenbon+Regal"]);
    });

    it("only borrows its inputs: they stay, and results never share their memory", async () => {
      const lent = image();
      const chain = [step("turn", "turn-upright", { image: "image", scores: "scores" })];
      const scores = float32Tensor("scores", [1, 2], Float32Array.of(1, 0));
      const { values } = await lane.run(chain, tensorsOf(lent, scores), ["turn.image"], call);
      expect(lent.bytes).toHaveLength(16);
      expect(values.get("turn.image")?.bytes).toEqual(lent.bytes);
      expect(values.get("turn.image")?.bytes.buffer).not.toBe(lent.bytes.buffer);
    });

    it("works on part of a larger buffer and takes given tensors", async () => {
      const part = new Uint8Array(40).fill(9).subarray(5, 21);
      const lent = numericTensor("image", "UINT8", [4, 4, 1], part);
      const chain = [step("cut", "centre-crop", { image: "image" }, { height: 2, width: 2 })];
      for (const tensor of [lent, give(lent), give(image())]) {
        const { values } = await lane.run(chain, tensorsOf(tensor), ["cut.image"], call);
        expect(values.get("cut.image")?.bytes).toHaveLength(4);
      }
      expect([...part]).toEqual(Array.from({ length: 16 }, () => 9));
    });

    it("names the problem of inputs, parameters and names", async () => {
      const scores = tensorsOf(float32Tensor("scores", [3], Float32Array.of(1, 2, 3)));
      const run = (one: ChainStep, keep: readonly string[] = []): Promise<unknown> =>
        lane.run([one], scores, keep, call);
      await expect(run(step("a", "resize-image", { image: "scores" }, { longest: 8 }))).rejects.toMatchObject(
        {
          reason: "invalid-input",
          message: "resize-image: image is FP32 [3]; an image is UINT8 [height, width, 1 to 4]",
        },
      );
      await expect(run(step("a", "softmax", { tensor: "scores" }, { axes: 1 }))).rejects.toMatchObject({
        reason: "invalid-configuration",
        message: "transform softmax: there is no parameter axes",
      });
      await expect(run(step("a", "sharpen", { tensor: "scores" }))).rejects.toMatchObject({
        reason: "invalid-configuration",
      });
      await expect(run(step("a", "softmax", { tensor: "b.tensor" }))).rejects.toMatchObject({
        reason: "invalid-input",
      });
      await expect(run(step("a", "softmax", { tensor: "scores" }), ["a.text"])).rejects.toMatchObject({
        reason: "invalid-configuration",
      });
    });

    it("refuses to pair values of different counts", async () => {
      const three = joinElements(
        "sides",
        [1, 2, 3].map((side) => float32Tensor("side", [2], Float32Array.of(side, 0))),
        { datatype: "FP32", shape: [2] },
      );
      const turning = step(
        "turn",
        "turn-upright",
        { image: "crop.crops", scores: "sides" },
        {},
        "crop.crops",
      );
      const inputs = tensorsOf(image(), boxes(), three);
      await expect(lane.run([cropping, turning], inputs, ["turn.image"], call)).rejects.toMatchObject({
        reason: "invalid-input",
        message: "step turn runs over 2 elements of crop.crops, but sides has 3",
      });
    });

    it("still works after a failure", async () => {
      const scores = tensorsOf(float32Tensor("scores", [3], Float32Array.of(1, 2, 3)));
      await expect(
        lane.run([step("a", "threshold", { scores: "scores" })], scores, [], call),
      ).rejects.toMatchObject({ reason: "invalid-configuration" });
      const above = await lane.run(
        [step("a", "threshold", { scores: "scores" }, { above: 1.5 })],
        scores,
        ["a.above"],
        call,
      );
      expect([...(above.values.get("a.above")?.bytes ?? [])]).toEqual([0, 1, 1]);
    });

    it("rejects when the call is cancelled, before and while it runs", async () => {
      const chain = Array.from({ length: 20 }, (_, index) =>
        step(`s${index}`, "resize-image", { image: "image" }, { height: 400, width: 400 }),
      );
      const why = new LongshoreError("cancelled", "plan", "no longer wanted");
      using early = childCall(call);
      early.cancel(why);
      await expect(lane.run(chain, tensorsOf(image()), [], early.call)).rejects.toBe(why);
      using late = childCall(call);
      const running = lane.run(chain, tensorsOf(image()), ["s19.image"], late.call);
      late.cancel(why);
      await expect(running).rejects.toBe(why);
    });

    it("runs many chains at once, each with its own answer", async () => {
      const answers = await Promise.all(
        Array.from({ length: 12 }, async (_, index) => {
          const scores = float32Tensor("scores", [1], Float32Array.of(index));
          const chain = [step("a", "cast", { tensor: "scores" }, { datatype: "UINT8", offset: 1 })];
          const { values } = await lane.run(
            chain,
            tensorsOf(scores),
            ["a.tensor"],
            housekeepingCall(`${index}`),
          );
          return values.get("a.tensor")?.bytes[0];
        }),
      );
      expect(answers).toEqual(Array.from({ length: 12 }, (_, index) => index + 1));
    });

    it("closes once or often, and then refuses", async () => {
      const other = make();
      await other.close();
      await other.close();
      await expect(other.run([], tensorsOf(), [], call)).rejects.toMatchObject({ reason: "shutting-down" });
    });
  });
}
