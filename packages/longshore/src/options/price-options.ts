import { LongshoreError } from "@longshore/core";
import type { StatedRates } from "@longshore/core/internal";
import { checkRates, mostPrice } from "@longshore/core/internal";
import type { Command } from "commander";
import { collect, number } from "./define.ts";

/** The prices of this server for its callers. */
export interface OwnPriceOptions {
  readonly pricePerSecond?: number;
  readonly pricePerRequest?: number;
  readonly pricePerJoule?: number;
}

/** Adds the prices of a server itself; without `runs` of one that only forwards. */
export function ownPriceOptions(command: Command, runs: boolean): Command {
  const price = (name: string): ((text: string) => number) => number(name, 0, mostPrice);
  command.option(
    "--price-per-request <micros>",
    "price of each request to this server, in micros (1e-6 of your currency; default 0)",
    price("price-per-request"),
  );
  if (!runs) return command;
  return command
    .option(
      "--price-per-second <micros>",
      "price of one second of run time here, in micros (default 0)",
      price("price-per-second"),
    )
    .option(
      "--price-per-joule <micros>",
      "price of one joule of energy here, in micros (default 0)",
      price("price-per-joule"),
    );
}

/** The prices of `OwnPriceOptions`, by the names that rates have. */
export function ownPricesOf({
  pricePerSecond,
  pricePerRequest,
  pricePerJoule,
}: OwnPriceOptions): StatedRates {
  return {
    ...(pricePerSecond === undefined ? {} : { microsPerSecond: pricePerSecond }),
    ...(pricePerRequest === undefined ? {} : { microsPerRequest: pricePerRequest }),
    ...(pricePerJoule === undefined ? {} : { microsPerJoule: pricePerJoule }),
  };
}

const keys = {
  "per-second": "microsPerSecond",
  "per-request": "microsPerRequest",
  "per-megabyte": "microsPerMegabyte",
  "per-megabyte-in": "microsPerMegabyteIn",
  "per-megabyte-out": "microsPerMegabyteOut",
  "per-joule": "microsPerJoule",
} as const satisfies Readonly<Record<string, keyof StatedRates>>;

function isKey(text: string): text is keyof typeof keys {
  return Object.hasOwn(keys, text);
}

/** Adds `--at-price`. */
export function atPriceOption(command: Command): Command {
  return command.option(
    "--at-price <prices>",
    `least price of the servers of --at, in micros: per-second=4000,per-request=2 (${Object.keys(keys).join(", ")}); URL,per-second=... for one of them; repeat for several (default: unknown, within no limit on cost)`,
    collect,
    [],
  );
}

/** Prices such as `per-second=4000`. Throws `invalid-configuration` with `where`, the key and the value. */
export function ratesIn(parts: readonly string[], where: string): StatedRates {
  const rates: { -readonly [Key in keyof StatedRates]: StatedRates[Key] } = {};
  for (const part of parts) {
    const split = part.indexOf("=");
    const key = part.slice(0, Math.max(0, split));
    const value = part.slice(split + 1);
    if (!isKey(key)) {
      throw refused(
        `${where}: '${part}' is no price; give one of ${Object.keys(keys).join(", ")}, such as per-second=4000`,
      );
    }
    if (rates[keys[key]] !== undefined) throw refused(`${where} names ${key} twice`);
    const price = value === "" ? NaN : Number(value);
    if (!(price >= 0 && price <= mostPrice)) {
      throw refused(`${where}: ${key} is '${value}'; it must be a number from 0 to ${mostPrice}`);
    }
    rates[keys[key]] = price;
  }
  checkRates(rates, where);
  return rates;
}

/**
 * The prices of each server of `--at`. One that names the server overrides one for all.
 * Throws `invalid-configuration` with the option, the key and the value.
 *
 * @param others Whether prices for all apply to other servers too, such as the pods of a pool.
 */
export function atPricesOf(
  texts: readonly string[],
  at: readonly string[],
  others = false,
): (address: string) => StatedRates | undefined {
  if (texts.length > 0 && at.length === 0 && !others)
    throw refused("--at-price is for the servers of --at, and none is given");
  let forAll: StatedRates | undefined;
  const forOne = new Map<string, StatedRates>();
  for (const text of texts) {
    const parts = text.split(",").map((part) => part.trim());
    const named = parts[0] !== undefined && /^https?:\/\//.test(parts[0]) ? parts.shift() : undefined;
    if (named !== undefined && !at.includes(named)) {
      throw refused(`--at-price names ${named}, which no --at does`);
    }
    const rates = ratesIn(parts, named === undefined ? "--at-price" : `--at-price ${named}`);
    if (named === undefined) forAll = { ...forAll, ...rates };
    else forOne.set(named, { ...forOne.get(named), ...rates });
  }
  return (address) => forOne.get(address) ?? forAll;
}

function refused(why: string): LongshoreError {
  return new LongshoreError("invalid-configuration", "resolve", why);
}
