import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { command, startServerProcess } from "../servers/index.ts";
import type { RunningControlPlane } from "./control-plane.ts";
import type { NodeAgent } from "./node-agent.ts";

const body = JSON.stringify({
  inputs: ["INPUT0", "INPUT1"].map((name) => ({
    name,
    datatype: "INT32",
    shape: [1, 16],
    data: Array.from({ length: 16 }, () => 1),
  })),
});

/** The cluster and the server that the checks of tokens use. */
export interface TokenWorld {
  readonly plane: RunningControlPlane;
  readonly agent: NodeAgent;
  readonly folder: string;
  readonly models: string;
  /** A free address for the server. */
  readonly address: string;
}

/** The statuses of requests with some tokens at a server that believes the cluster's issuer, with these lines about its keys. */
async function statuses(
  { plane, folder, models, address }: TokenWorld,
  keySet: readonly string[],
  tokens: readonly string[],
): Promise<readonly number[]> {
  const identity = [
    "tokens:",
    `  - issuer: ${plane.issuer}`,
    "    audience: longshore",
    "    keySet:",
    ...keySet.map((line) => `      ${line}`),
    "    tenant: { claim: [kubernetes.io, namespace] }",
    "    rights: [infer]",
    "tenants: { shop: { models: [simple] } }",
  ];
  const file = join(folder, "identity.yaml");
  await writeFile(file, `${identity.join("\n")}\n`);
  const server = await startServerProcess({
    command: process.execPath,
    args: [
      command,
      "serve",
      models,
      "--host",
      address,
      "--port",
      "8000",
      "--identity",
      file,
      "--no-grpc-port",
    ],
    readyUrl: `http://${address}:8000/v2/health/ready`,
  });
  try {
    const all: number[] = [];
    for (const token of tokens) {
      const headers = token === "" ? {} : { authorization: `Bearer ${token}` };
      const reply = await fetch(`http://${address}:8000/v2/models/simple/infer`, {
        method: "POST",
        headers,
        body,
      });
      await reply.arrayBuffer();
      all.push(reply.status);
    }
    return all;
  } finally {
    await server.close();
  }
}

/** Tokens of service accounts, by TokenRequest, at a server that reads the keys of the API server by discovery. */
export async function checkTokens(world: TokenWorld): Promise<string> {
  const { plane, agent, folder } = world;
  const bearer = join(folder, "token");
  // A pod's own token is for the API server alone.
  const own = await agent.accountToken("default");
  await writeFile(bearer, own);
  await plane.api.ask("POST", "/api/v1/namespaces", { metadata: { name: "elsewhere" } });
  await plane.api.ask("POST", "/api/v1/namespaces/elsewhere/serviceaccounts", { metadata: { name: "edge" } });
  const audiences = ["longshore"];
  const { status } = await plane.api.ask<{ readonly status: { readonly token: string } }>(
    "POST",
    "/api/v1/namespaces/elsewhere/serviceaccounts/edge/token",
    { spec: { audiences, expirationSeconds: 3600 } },
  );
  const good = await agent.accountToken("default", "longshore");
  const tokens = [good, own, status.token, `${good.slice(0, -4)}AAAA`, ""];
  const found = await statuses(world, [`bearer: ${bearer}`, `ca: ${plane.caFile}`], tokens);
  const wanted = "200 401 403 401 401";
  if (found.join(" ") !== wanted) throw new Error(`${found.join(" ")} and not ${wanted}`);
  // The API server gives its keys to authenticated clients only, and no known authority signed its certificate.
  for (const keySet of [[`ca: ${plane.caFile}`], [`bearer: ${bearer}`]]) {
    const [without] = await statuses(world, keySet, [good]);
    if (without !== 503)
      throw new Error(`without ${keySet[0]?.startsWith("ca") ? "bearer" : "ca"}: ${without}`);
  }
  return "its own 200, of another audience 401, of another namespace 403, forged 401; 503 without bearer or authority";
}
