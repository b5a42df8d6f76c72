export { createLife, type Life, type LifeState } from "./life.ts";
