import { type Defining, help } from "../options/define.ts";
import { readTextFile } from "../connect/read-text.ts";
import { dashboard } from "./dashboard.ts";
import { parseServiceLevels } from "./objectives.ts";
import { ruleGroups, rulesYaml } from "./rules.ts";

/** `longshore slo rules|dashboard`. */
export function defineSlo({ program, action, io }: Defining): void {
  const group = program
    .command("slo")
    .description("write alert rules of Prometheus for service-level objectives, and a dashboard for Grafana");
  help(
    group
      .command("rules")
      .description("print recording and alert rules for the objectives of a file")
      .argument("<file>", "service-level file (slo.yaml)")
      .option("--json", "print JSON", false)
      .action(
        action(async (file: string, { json }: { readonly json: boolean }) => {
          const groups = ruleGroups(parseServiceLevels(await readTextFile(file, "the service levels"), file));
          io.out(json ? JSON.stringify({ groups }) : rulesYaml(groups));
          return 0;
        }),
      ),
    "longshore slo rules slo.yaml > /etc/prometheus/longshore.rules.yaml",
  );
  help(
    group
      .command("dashboard")
      .description("print a dashboard of servers, gateways and objectives, to import into Grafana")
      .action(
        action(async () => {
          io.out(JSON.stringify(dashboard(), undefined, 1));
          return 0;
        }),
      ),
    "longshore slo dashboard > longshore.json",
  );
}
