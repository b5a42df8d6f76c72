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

function groupOf(option: Option, common: ReadonlySet<string>): string {
  const attribute = option.attributeName();
  if (common.has(attribute)) return "Common";
  if (endpointOptions.includes(attribute)) return "Endpoints";
  return titles.get(attribute) ?? "Other";
}

/** Groups the options of a command in its help, the five most common ones first. */
export function groupHelp(command: Command): Command {
  const ranked = commonOptions.filter((name) =>
    command.options.some((option) => option.attributeName() === name),
  );
  const common = new Set(ranked.slice(0, 5));
  for (const option of command.options) option.helpGroup(`${groupOf(option, common)}:`);
  const rank = (option: Option): number => {
    const group = order.indexOf(groupOf(option, common));
    const at = ranked.indexOf(option.attributeName());
    return group * 100 + (at === -1 ? 99 : at);
  };
  // Commander lists groups in the order of their first options, and has no other way to order them.
  (command.options as Option[]).sort((a, b) => rank(a) - rank(b));
  return command;
}
