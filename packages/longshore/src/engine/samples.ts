/** An input that comes with the sample models, with what is known to be right about it. */
export interface SampleFile {
  /** Path inside the folder of inputs, such as `images/receipt-1.jpg`. */
  readonly file: string;
  /** The same file as an absolute path. */
  readonly path: string;
  readonly kind: string;
  readonly models: readonly string[];
  /** Made by a script and labelled so; false for what a camera, scanner or microphone recorded. */
  readonly made: boolean;
  readonly truth: {
    readonly lines?: readonly string[];
    readonly fault?: { readonly kind: string } | null;
    readonly speechFrames?: number;
    readonly frames?: number;
  };
}

/** The exports of `@longshore/samples` that the command uses; the package is found at run time, never required. */
export interface SamplesPackage {
  sampleRepository(): string;
  sampleInputs(): readonly SampleFile[];
  /** Share of the characters that were read right, 0..1. */
  ocrAccuracy(truth: readonly string[], read: readonly string[]): number;
}

/**
 * The sample models and inputs, or undefined when `@longshore/samples` is not installed. The samples are a package of
 * their own because of their size; `longshore` works without them.
 */
export async function samplesPackage(): Promise<SamplesPackage | undefined> {
  // The name is not a literal, so that neither compilers nor bundlers make it a dependency.
  const name: string = ["@longshore", "samples"].join("/");
  try {
    return (await import(name)) as SamplesPackage;
  } catch (error) {
    if ((error as { code?: string }).code === "ERR_MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}

/** Folder of the sample models, or undefined when they are not installed. */
export async function installedSamples(): Promise<string | undefined> {
  return (await samplesPackage())?.sampleRepository();
}
