import type { Profile, Tier, ZoneId } from "@longshore/core";

/** The settings that an endpoint starts with; they travel to a child process as plain data. */
export interface EndpointSettings {
  readonly id: string;
  readonly tier: Tier;
  readonly zone: ZoneId;
  /** Folder of the models. */
  readonly repository: string;
  /** Profiles of models that have none in the repository, by model. */
  readonly profiles: Readonly<Record<string, Profile>>;
  readonly microsPerSecond: number;
}

/** A crowd that shares an endpoint: each of its requests takes the time that requests were measured to take there. */
export interface Crowd {
  readonly cameras: number;
  readonly framesPerSecond: number;
  /** Requests that the endpoint works at a time. */
  readonly slots: number;
  readonly seed: number;
}

/** To an endpoint. */
export type EndpointOrder =
  | { readonly kind: "start"; readonly settings: EndpointSettings }
  | { readonly kind: "crowd"; readonly crowd: Crowd | undefined }
  | { readonly kind: "stop" };

/** From an endpoint. */
export type EndpointNews =
  | { readonly kind: "ready"; readonly address: string }
  | { readonly kind: "crowded" }
  | { readonly kind: "failed"; readonly message: string };
