#!/usr/bin/env -S node --min-semi-space-size=64 --max-semi-space-size=64
// Each collection of young objects delays the requests under way. With this young space (MB) there is one in 1,500 small requests to a
// server, else one in 380.
//
// A file of its own, because npm links commands when it installs, which on a fresh clone is before anything is built.
import { existsSync } from "node:fs";

// `npm run build` bundles the command (tools/bundle.mjs); `tsc -b` alone does not.
const bundle = new URL("../dist/bundle/main.js", import.meta.url);
await import(existsSync(bundle) ? bundle.href : "../dist/command/main.js");
