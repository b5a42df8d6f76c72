/**
 * NATS as a directory and as a store of model packages: records in a key-value bucket, manifests and files in an object store.
 * Its content is believed for its signatures, not for where it lay.
 *
 * @module
 */
export * from "./bucket.ts";
export * from "./nats-join.ts";
export * from "./nats-packages.ts";
export * from "./nats-source.ts";
export * from "./nats-writers.ts";
