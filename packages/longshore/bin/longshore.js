#!/usr/bin/env node
// A file of its own, because npm links commands when it installs, which on a fresh clone is before anything is built.
await import("../dist/command/main.js");
