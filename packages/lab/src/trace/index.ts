export * from "./arrival-pattern.ts";
export * from "./arrivals.ts";
export * from "./families.ts";
export { type LinkShape, linkShapes, syntheticTrace } from "./generate.ts";
export {
  csvDialects,
  type CsvColumns,
  readColumn,
  readCsv,
  readMahimahi,
  readNumbers,
  readTwoColumns,
} from "./read.ts";
export * from "./recognise.ts";
export * from "./trace.ts";
