import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseTextProto, type ProtoMessage, TextProtoError } from "./text-proto.ts";

const fieldsOf = (text: string): readonly (readonly [string, unknown])[] =>
  parseTextProto(text).fields.map(({ name, value }) => [
    name,
    value.kind === "message" ? "message" : value.text,
  ]);

describe("text format", () => {
  it("reads scalars, comments, separators, and both ways to open a message", () => {
    const text = `# a comment
      name: "densenet" # another
      max_batch_size: 8, kind: KIND_CPU;
      input { dims: [ -1, 3 ] } output < dims: 0x10 dims: 1e3 >
    `;
    expect(fieldsOf(text)).toEqual([
      ["name", "densenet"],
      ["max_batch_size", "8"],
      ["kind", "KIND_CPU"],
      ["input", "message"],
      ["output", "message"],
    ]);
  });

  it("joins adjacent strings and reads escapes as bytes and characters", () => {
    expect(fieldsOf(String.raw`s: "a\n\t\"" 'b' s: "\x41\101\u00e4" s: '\303\244'`)).toEqual([
      ["s", 'a\n\t"b'],
      ["s", "AAä"],
      ["s", "ä"],
    ]);
  });

  it("reads lists of messages and empty lists", () => {
    expect(fieldsOf("step [ { a: 1 }, { a: 2 } ] none: []").map(([name]) => name)).toEqual(["step", "step"]);
  });

  it.each([
    ["name: ", 1, "a value is expected"],
    ["a: 1\nb {", 2, "still open"],
    ["a: 1\n\nb: [1 2]", 3, '"," or "]" is expected'],
    ["name 'x'", 1, '":" is expected'],
    ["a: 1\n$", 2, "is not understood"],
    ['a: "open', 1, "is not understood"],
    ["}", 1, "a field name is expected"],
    ["a: 12px", 1, "is not understood"],
  ])("reports the problem and the line of %j", (text, line, problem) => {
    expect(() => parseTextProto(text)).toThrow(
      expect.objectContaining({ line, message: expect.stringContaining(problem) as string }) as Error,
    );
  });

  it("refuses nesting without end", () => {
    expect(() => parseTextProto("a {".repeat(100_000))).toThrow(TextProtoError);
  });

  it("reads back its own output, for any strings and numbers", () => {
    const write = (message: ProtoMessage): string =>
      message.fields
        .map(({ name, value }) =>
          value.kind === "message"
            ? `${name} { ${write(value)} }`
            : `${name}: ${value.kind === "string" ? quoted(value.text) : value.text}`,
        )
        .join("\n");
    const quoted = (text: string): string =>
      `"${text.replaceAll(/["\\\n]/g, (one) => (one === "\n" ? "\\n" : `\\${one}`))}"`;
    const name = fc.stringMatching(/^[a-z][a-z_]{0,6}$/);
    const scalar = fc.oneof(
      fc.record({ kind: fc.constant("string" as const), text: fc.string({ unit: "grapheme" }) }),
      fc.record({ kind: fc.constant("number" as const), text: fc.integer().map(String) }),
      fc.record({ kind: fc.constant("word" as const), text: fc.constantFrom("TYPE_FP32", "true", "inf") }),
    );
    const { message } = fc.letrec<{ message: ProtoMessage }>((tie) => ({
      message: fc.record({
        kind: fc.constant("message" as const),
        fields: fc.array(
          fc.record({ name, value: fc.oneof({ maxDepth: 3 }, scalar, tie("message")), line: fc.constant(0) }),
          { maxLength: 4 },
        ),
      }),
    }));
    const plain = (value: ProtoMessage): unknown =>
      value.fields.map((field) => [
        field.name,
        field.value.kind === "message" ? plain(field.value) : field.value,
      ]);
    fc.assert(
      fc.property(message, (made) => {
        expect(plain(parseTextProto(write(made)))).toEqual(plain(made));
      }),
    );
  });

  it("refuses or reads any text in time that grows with its length", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.constantFrom("a", ":", "{", "}", "[", "]", '"', "'", "\\", "1", "-", ".", " ", "\n", "#"),
          { maxLength: 60 },
        ),
        (letters) => {
          try {
            parseTextProto(letters.join(""));
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(TextProtoError);
          }
        },
      ),
    );
    expect(() => parseTextProto(`a: ${"1".repeat(200_000)}x`)).toThrow(TextProtoError);
  });
});
