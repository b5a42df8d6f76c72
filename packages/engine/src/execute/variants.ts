import { type EndpointInfo, LongshoreError, type Variant } from "@longshore/core";
import { type LoadedVersion, type Program, someNames } from "../repository/index.ts";
import { servedHere } from "./offers.ts";

/** The program of a variant; an empty name means the first that this endpoint serves. Throws `unknown-variant`. */
export function programOf(loaded: LoadedVersion, variant: string, info: EndpointInfo): Program {
  const { name, version, variants } = loaded.description;
  const wanted = variants.find((one) => (variant === "" || one.name === variant) && servedHere(one, info));
  const program = wanted && loaded.programs.get(wanted.name);
  if (program) return program;
  const here = variants.filter((one) => servedHere(one, info));
  throw new LongshoreError(
    "unknown-variant",
    "resolve",
    `model ${name} version ${version} has no variant ${JSON.stringify(variant)} on this ${info.tier}; served here: ${someNames(here.map((one) => one.name))}`,
  );
}

/** Variants that may stand in for one, the most alike first; none when the caller takes no other. */
export function standIns(
  { description }: LoadedVersion,
  variant: string,
  leastAgreementRatio: number | undefined,
  info: EndpointInfo,
): readonly Variant[] {
  if (leastAgreementRatio === undefined) return [];
  return description.variants
    .filter(
      (one) => one.name !== variant && one.agreementRatio >= leastAgreementRatio && servedHere(one, info),
    )
    .sort((a, b) => b.agreementRatio - a.agreementRatio);
}
