import { describe, expect, it } from "vitest";
import { runtimeDetail, runtimeReason } from "./runtime-detail.ts";

describe("runtimeDetail", () => {
  it("keeps names of nodes and tensors, and drops positions in the runtime's source", () => {
    const thrown = new Error(
      "Non-zero status code returned while running ConstantOfShape node. Name:'/head/Fill' Status Message: " +
        "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal" +
        "(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 1024000000\n",
    );
    expect(runtimeDetail(thrown)).toBe(
      "Non-zero status code returned while running ConstantOfShape node. Name:'/head/Fill' Status Message: " +
        "Failed to allocate memory for requested buffer of size 1024000000",
    );
  });

  it("drops the signature of a check that failed", () => {
    const thrown = new Error(
      "Status Message: onnxruntime::Broadcaster::Broadcaster(gsl::span<const long int>) largest <= 1 was false. 2 is invalid.",
    );
    expect(runtimeDetail(thrown)).toBe("Status Message: largest <= 1 was false. 2 is invalid.");
  });

  it("names no file of a model's choice, and is bounded", () => {
    const outside = new Error('External data path does not exist: "/home/someone/secret.bin"');
    expect(runtimeDetail(outside)).not.toContain("someone");
    expect(runtimeDetail(new Error("x".repeat(5000))).length).toBeLessThan(400);
    expect(runtimeDetail("plain text")).toBe("plain text");
  });
});

describe("runtimeReason", () => {
  it("distinguishes a lack of memory, and types outside the protocol, from other failures", () => {
    expect(runtimeReason(new Error("std::bad_alloc"), "run-failed")).toBe("memory-limit");
    expect(runtimeReason(new Error("Array buffer allocation failed"), "run-failed")).toBe("memory-limit");
    expect(runtimeReason(new Error("Unsupported data type: 16"), "invalid-model")).toBe("unsupported");
    expect(runtimeReason(new Error("No Op registered"), "invalid-model")).toBe("invalid-model");
  });
});
