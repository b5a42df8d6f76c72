import { readFileSync } from "node:fs";
import { settle } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { readInferReplyInSteps, writeInferReply } from "./infer-reply.ts";
import { readInferRequest, writeInferRequest } from "./infer-request.ts";
import { defaultWireLimits } from "./limits.ts";
import { headerLengthOf, type Message } from "./message.ts";

const page = readFileSync(new URL("../../../../../docs/protocol.md", import.meta.url), "utf8");

/** The bytes of a hex dump in the page. */
function dump(name: string): Uint8Array {
  const block = new RegExp(`\`\`\`hex ${name}\\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? "";
  const words = block.split("\n").flatMap((line) => line.split("  ")[1]?.match(/../g) ?? []);
  return Uint8Array.from(words, (word) => Number.parseInt(word, 16));
}

function lengthIn(pattern: RegExp): number {
  return Number(pattern.exec(page)?.[1]);
}

function join({ parts }: Message): number[] {
  return parts.flatMap((part) => [...part]);
}

const floats = (bytes: Uint8Array): number[] => [...new Float32Array(bytes.slice().buffer)];

describe("the protocol's page", () => {
  it("shows a request that the parser reads and the writer writes", () => {
    const bytes = dump("request");
    const length = lengthIn(/`Inference-Header-Content-Length: (208)`/);
    expect(bytes.byteLength).toBe(lengthIn(/`Content-Length: (220)`/));
    const { binaryOutputs, ...read } = readInferRequest(bytes, length);
    expect(read).toMatchObject({ id: "7", outputs: [{ name: "y", binary: true }] });
    expect(read.inputs.map(({ name, shape, bytes }) => [name, shape, floats(bytes)])).toEqual([
      ["x", [1, 3], [1, 2, 3]],
    ]);
    const written = writeInferRequest({ ...read, parameters: {}, binaryOutputs }, "binary");
    expect(headerLengthOf(written.headers)).toBe(length);
    expect(join(written)).toEqual([...bytes]);
  });

  it("shows a reply that the parser reads and the writer writes", async () => {
    const bytes = dump("reply");
    const length = lengthIn(/`Inference-Header-Content-Length: (152)`/);
    expect(bytes.byteLength).toBe(lengthIn(/`Content-Length: (164)`/));
    const read = await readInferReplyInSteps(bytes, length, defaultWireLimits, settle);
    expect(read).toMatchObject({ modelName: "double", modelVersion: "1", id: "7" });
    expect(floats(read.outputs.at(0)!.bytes)).toEqual([2, 4, 6]);
    expect(join(writeInferReply(read, () => true))).toEqual([...bytes]);
  });

  it("shows a JSON request that the parser reads", () => {
    const [, first = ""] = /### 3\.1 Requests\s+```json\n([\s\S]*?)```/.exec(page) ?? [];
    const { inputs, outputs } = readInferRequest(new TextEncoder().encode(first), undefined);
    expect(floats(inputs.at(0)!.bytes)).toEqual([1, 2, 3]);
    expect(outputs).toEqual([{ name: "y", binary: false }]);
  });

  it("states the limits that the parser has", () => {
    const mebibytes = (bytes: number): string => `${bytes / 2 ** 20} MiB`;
    expect(page).toContain(`| body, inflated | ${mebibytes(defaultWireLimits.maxBodyBytes)} |`);
    expect(page).toContain(`| JSON part | ${mebibytes(defaultWireLimits.maxJsonBytes)} |`);
    expect(page).toContain(`| one decoded tensor | ${mebibytes(defaultWireLimits.maxTensorBytes)} |`);
    expect(page).toContain(`| tensors in a message | ${defaultWireLimits.maxTensors} |`);
    expect(page).toContain(
      `| texts in a BYTES tensor | ${defaultWireLimits.maxTexts.toLocaleString("en")} |`,
    );
    expect(page).toContain(`| name, text parameter | ${defaultWireLimits.maxNameLength} characters |`);
  });
});
