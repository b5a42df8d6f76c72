import type { Command, Option } from "commander";
import { commonOptions, endpointOptions, sections } from "./settings.ts";

const titles = new Map<string, string>(
  Object.values(sections).flatMap(({ title, options }) =>
    Object.values(options).map((attribute): [string, string] => [attribute, title]),
  ),
);

const order = ["Common", "Server", "Listeners", "Identity", "Endpoints", "Directory"];
order.push(
  ...Object.values(sections).flatMap(({ title }) => (order.includes(title) ? [] : [title])),
  "Other",
);

function groupOf(attribute: string, common: ReadonlySet<string>): string {
  if (common.has(attribute)) return "Common";
  if (endpointOptions.includes(attribute)) return "Endpoints";
  return titles.get(attribute) ?? "Other";
}

/** Groups the options of a command in its help, the five most common ones first. */
export function groupHelp(command: Command): Command {
  // Commander derives the attribute from the flags at each call.
  const options = (command.options as Option[]).map((option) => ({
    option,
    attribute: option.attributeName(),
  }));
  const attributes = new Set(options.map(({ attribute }) => attribute));
  const ranked = commonOptions.filter((name) => attributes.has(name));
  const common = new Set(ranked.slice(0, 5));
  const sorted = options
    .map(({ option, attribute }) => {
      const group = groupOf(attribute, common);
      option.helpGroup(`${group}:`);
      const at = ranked.indexOf(attribute);
      return { option, rank: order.indexOf(group) * 100 + (at === -1 ? 99 : at) };
    })
    .sort((a, b) => a.rank - b.rank);
  // Commander lists groups in the order of their first options, and has no other way to order them.
  (command.options as Option[]).splice(0, sorted.length, ...sorted.map(({ option }) => option));
  return command;
}
