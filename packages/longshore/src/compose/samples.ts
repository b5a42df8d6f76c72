/** What `@longshore/samples` offers, as far as the command uses it; the package is found at run time, never required. */
interface SamplesPackage {
  sampleRepository(): string;
}

/**
 * Folder of the sample models, or undefined when `@longshore/samples` is not installed. The samples are a package of
 * their own because of their size; `longshore` works without them.
 */
export async function sampleRepository(): Promise<string | undefined> {
  // The name is not a literal, so that neither compilers nor bundlers make it a dependency.
  const name: string = ["@longshore", "samples"].join("/");
  try {
    const samples = (await import(name)) as SamplesPackage;
    return samples.sampleRepository();
  } catch (error) {
    if ((error as { code?: string }).code === "ERR_MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}
