import type { Tensors } from "@longshore/core";

/** The task of a process: to measure one model on one execution provider. */
export interface ProviderOrder {
  /** The model, as for `longshore infer`. */
  readonly argument: string;
  readonly provider: string;
  /** Folder of inputs. Default: golden inputs, else seeded random ones. */
  readonly samples?: string;
  /** Counted runs of each input. */
  readonly rounds: number;
}

/** The measured figures. */
export interface ProviderFigures {
  /** Time until the first answer, with the trial in a process of its own and the load. */
  readonly firstAnswerMs: number;
  /** Time of each counted run. */
  readonly runMs: readonly number[];
  /** Processor time of one run, of all threads. */
  readonly processorMs: number;
  /** Growth of this process from before the load to after the runs. Memory of an accelerator is not in it. */
  readonly memoryBytes: number;
  /** Energy of one run: of the whole machine by its counters, else the processor's time at some watts, else unknown. */
  readonly energy: { readonly millijoules: number; readonly label: "measured" | "estimated" } | undefined;
  /** Where the inputs come from. */
  readonly inputs: "golden" | "samples" | "random";
  /** Answers to the inputs, in their order. */
  readonly answers: readonly Tensors[];
  /** Right answers of golden inputs; empty for other inputs. */
  readonly golden: readonly Tensors[];
  /** Why the provider is not faster than the processor, such as an adapter in software. */
  readonly slow?: string;
}

/** The last message of the process. */
export type ProviderNews =
  | ({ readonly kind: "measured" } & ProviderFigures)
  | { readonly kind: "failed"; readonly message: string };
