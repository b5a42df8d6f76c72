import { give, type Tensor, tensorOf, tensorsOf } from "@longshore/core";
import { describe, expect, it } from "vitest";
import { feedPacker } from "./pack-feeds.ts";

const mebi = 2 ** 20;

/** A borrowed view that does not fill its buffer, as inputs are that lie in one message. */
function lent(name: string, bytes: number, seed: number): Tensor {
  const whole = new Uint8Array(bytes + 8);
  for (let index = 0; index < whole.length; index += 1000) whole[index] = (index / 1000) * seed;
  return tensorOf(name, "UINT8", [bytes], whole.subarray(8));
}

function counter() {
  const pauses = { count: 0, pause: () => Promise.resolve(void (pauses.count += 1)) };
  return pauses;
}

describe("feedPacker", () => {
  it("copies many megabytes in steps, each input to its position", async () => {
    const [one, other] = [lent("one", 5 * mebi, 3), lent("other", 3 * mebi, 5)];
    const pauses = counter();
    const packed = feedPacker(true, undefined).pack(tensorsOf(one, other), ["y"], pauses.pause);
    expect(packed).toBeInstanceOf(Promise);
    const { message, transfer } = await packed;
    expect(pauses.count).toBeGreaterThanOrEqual(3);
    if (message.kind !== "run") throw new Error(message.kind);
    expect(transfer.length === 1 && transfer[0] === message.buffer).toBe(true);
    for (const [{ offset, byteLength }, { bytes }] of [
      [message.feeds[0]!, one],
      [message.feeds[1]!, other],
    ] as const) {
      expect(Buffer.from(message.buffer!, offset, byteLength).equals(bytes)).toBe(true);
    }
  });

  it("has small and moved inputs ready at once", () => {
    const moving = give(tensorOf("moving", "UINT8", [8 * mebi], new Uint8Array(8 * mebi)));
    const pauses = counter();
    const packer = feedPacker(true, new Uint8Array(65_536));
    expect(packer.pack(tensorsOf(lent("x", 1000, 3)), ["y"], pauses.pause)).toMatchObject({
      message: { kind: "run" },
    });
    const moved = packer.pack(tensorsOf(moving, lent("x", 1000, 3)), ["y"], pauses.pause);
    if (moved instanceof Promise) throw new Error("not at once");
    expect(moved.transfer.length === 1 && moved.transfer[0] === moving.bytes.buffer).toBe(true);
    expect(pauses.count).toBe(0);
  });

  it("sends all of the next run after one whose copy was given up", async () => {
    const packer = feedPacker(true, new Uint8Array(65_536));
    const small = tensorsOf(lent("x", 1000, 3));
    await packer.pack(small, ["y"], () => Promise.resolve());
    const gone = (): Promise<void> => Promise.reject(new Error("nobody waits"));
    await expect(packer.pack(tensorsOf(lent("x", 8 * mebi, 3)), ["y"], gone)).rejects.toThrow("nobody");
    expect(packer.pack(small, ["y"], gone)).toMatchObject({ message: { kind: "run" } });
  });
});
