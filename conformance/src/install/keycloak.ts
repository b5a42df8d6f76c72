import { join } from "node:path";
import { installed, Unavailable } from "./cache.ts";
import { must, run } from "./run.ts";

const version = "26.4.0";

/** Keycloak's distribution, out of the repository that Maven is set up for. Returns its folder. */
export async function keycloak(): Promise<string> {
  const folder = await installed({
    name: "keycloak",
    contents: [version],
    async make(folder) {
      for (const program of ["java", "mvn", "unzip"]) {
        if ((await run(program, [program === "unzip" ? "-v" : "-version"])).code !== 0) {
          throw new Unavailable(`it needs ${program}`);
        }
      }
      const copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy";
      const artifact = `-Dartifact=org.keycloak:keycloak-quarkus-dist:${version}:zip`;
      await must("mvn", ["-q", "-B", copy, artifact, `-DoutputDirectory=${folder}`], {
        cwd: folder,
        timeoutMs: 900_000,
      });
      const archive = join(folder, `keycloak-quarkus-dist-${version}.zip`);
      await must("unzip", ["-q", archive, "-d", folder]);
    },
  });
  return join(folder, `keycloak-${version}`);
}
