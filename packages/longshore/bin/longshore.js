#!/usr/bin/env node
// A file of its own, because npm links commands when it installs, which on a fresh clone is before anything is built.
import { existsSync } from "node:fs";

// `npm run build` bundles the command (tools/bundle.mjs); `tsc -b` alone does not.
const bundle = new URL("../dist/bundle/main.js", import.meta.url);
await import(existsSync(bundle) ? bundle.href : "../dist/command/main.js");
