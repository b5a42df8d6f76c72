import { run } from "../install/index.ts";
import { asked, type Part } from "./part.ts";

/** One request of the protocol's plainest client, and what has to come back. */
interface Request {
  readonly name: string;
  readonly path: string;
  readonly args: readonly string[];
  readonly status: number;
  readonly holds?: string;
}

const row = `[${Array.from({ length: 16 }, (_, index) => index).join(",")}]`;
const ones = `[${Array.from({ length: 16 }, () => 1).join(",")}]`;
const input = (name: string, data: string): string =>
  `{"name":"${name}","datatype":"INT32","shape":[1,16],"data":${data}}`;
const body = `{"id":"c","inputs":[${input("INPUT0", row)},${input("INPUT1", ones)}],"outputs":[{"name":"OUTPUT0"}]}`;
const post = (text: string): readonly string[] => ["-X", "POST", "-d", text];

const requests: readonly Request[] = [
  { name: "live", path: "/v2/health/live", args: [], status: 200 },
  { name: "server, with a slash", path: "/v2/", args: [], status: 200, holds: '"extensions"' },
  { name: "metadata", path: "/v2/models/simple", args: [], status: 200, holds: '"INPUT0"' },
  { name: "head", path: "/v2/models/simple", args: ["-I"], status: 200 },
  {
    name: "infer",
    path: "/v2/models/simple/infer",
    args: post(body),
    status: 200,
    holds: '"data":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]',
  },
  {
    name: "infer, chunked, expecting 100",
    path: "/v2/models/simple/versions/1/infer",
    args: [...post(body), "-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue"],
    status: 200,
    holds: '"id":"c"',
  },
  {
    name: "infer, answer compressed",
    path: "/v2/models/simple/infer",
    args: [...post(body), "--compressed"],
    status: 200,
    holds: '"OUTPUT0"',
  },
  { name: "index", path: "/v2/repository/index", args: post(""), status: 200, holds: '"simple"' },
  { name: "metrics", path: "/metrics", args: [], status: 200, holds: "nv_inference_request_success" },
  { name: "openapi", path: "/v2/openapi.json", args: [], status: 200, holds: '"openapi"' },
  {
    name: "unknown model",
    path: "/v2/models/nothing/infer",
    args: post(body),
    status: 404,
    holds: '"error"',
  },
  { name: "broken JSON", path: "/v2/models/simple/infer", args: post("{"), status: 400, holds: '"error"' },
  {
    name: "wrong method",
    path: "/v2/models/simple/infer",
    args: ["-X", "DELETE"],
    status: 405,
    holds: '"error"',
  },
  { name: "path tricks", path: "/v2/models/..%2f..%2fetc/config", args: ["--path-as-is"], status: 404 },
];

/** The protocol by hand, with curl. */
export const curlPart: Part = {
  name: "curl",
  async run(context) {
    for (const { name, path, args, status, holds } of requests) {
      if (!asked(context, name)) continue;
      const url = `http://${context.server.http}${path}`;
      const { code, out, err } = await run("curl", ["-sS", "-m", "20", "-w", "\n%{http_code}", ...args, url]);
      if (code === 127) {
        context.told({ name, outcome: "skipped", detail: "curl is not installed" });
        continue;
      }
      const got = Number(out.slice(out.lastIndexOf("\n") + 1));
      const fine = code === 0 && got === status && (holds === undefined || out.includes(holds));
      context.told({
        name,
        outcome: fine ? "passed" : "failed",
        detail: fine
          ? ""
          : `status ${got} instead of ${status}${code === 0 ? "" : `, ${err.trim()}`}: ${out.slice(0, 160)}`,
      });
    }
  },
};
