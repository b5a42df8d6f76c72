import type { Datatype } from "@longshore/core";

/** A graph that every server is given as the same file. */
export interface ServedModel {
  readonly name: string;
  /** Default `1`. Several of one name are its versions (Triton, MLServer), which differ in nothing but their files. */
  readonly version?: string;
  /** Path of the ONNX file. */
  readonly file: string;
  readonly input: { readonly name: string; readonly datatype: Datatype; readonly shape: readonly number[] };
  readonly output: { readonly name: string; readonly datatype: Datatype; readonly shape: readonly number[] };
  /** Rows that one run may take together where that is faster than one by one; 1 where it is not. */
  readonly batch: number;
}

/** How a server spreads a model over the cores that it is held to. */
export interface Spread {
  /** Copies of the model (instances, workers or processes, as the server has them). */
  readonly copies: number;
  /** Threads inside one run. */
  readonly threads: number;
}

/** The start parameters of a server. */
export interface ServerSetup {
  readonly models: readonly ServedModel[];
  /** Cores that all of its threads and processes are held to. */
  readonly cores: readonly number[];
  readonly spread: Spread;
  /** An empty folder for its configuration. */
  readonly folder: string;
}

/** A server that answers. */
export interface RunningPeer {
  readonly name: string;
  /** `host:port` of HTTP/1.1. */
  readonly http: string;
  /** `host:port` of gRPC without TLS. */
  readonly grpc?: string;
  /** `host:port` that tells metrics under `/metrics`, where it does. */
  readonly metrics?: string;
  /** Its settings in words, for the table. */
  readonly settings: string;
  /** The process whose time and memory, with its children's, are the server's. */
  readonly pid: number;
  /** Ends it and all that it started. */
  close(): Promise<void>;
}
