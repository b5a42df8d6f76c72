/** Assembles the sample repository; `npm run build`, `demo` and `test` run it after compiling. Silent when nothing changed. */
import { assembleRepository } from "./assemble.ts";

assembleRepository();
