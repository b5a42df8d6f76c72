/** Runs the compiled examples of one package in this process, one after the other, and prints as JSON what each printed. */
import { format } from "node:util";

const out = console.log;
const results = {};
for (const file of process.argv.slice(2)) {
  const lines = [];
  console.log = (...values) => lines.push(format(...values));
  try {
    await import(file);
    results[file] = { lines };
  } catch (error) {
    results[file] = { lines, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
out(JSON.stringify(results));
process.exit(0);
