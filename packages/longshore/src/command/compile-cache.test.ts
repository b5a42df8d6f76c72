import { join } from "node:path";
import { expect, it } from "vitest";
import { useCompileCache } from "./compile-cache.ts";

it("keeps compiled code in the cache folder, where there is one and this Node.js can", () => {
  const used: string[] = [];
  const enable = (folder: string): void => void used.push(folder);
  const home = { HOME: "/home/somebody" };
  expect(useCompileCache(["serve"], home, enable)).toBe(true);
  expect(useCompileCache(["serve", "--cache-dir", "/c"], home, enable)).toBe(true);
  expect(useCompileCache(["serve", "--cache-dir=/d"], home, enable)).toBe(true);
  expect(useCompileCache(["serve"], { ...home, XDG_CACHE_HOME: "/x" }, enable)).toBe(true);
  expect(used).toEqual([
    join("/home/somebody", ".cache", "longshore", "compiled"),
    join("/c", "compiled"),
    join("/d", "compiled"),
    join("/x", "longshore", "compiled"),
  ]);
  expect(useCompileCache(["serve", "--no-cache-dir"], home, enable)).toBe(false);
  expect(useCompileCache(["serve"], {}, enable)).toBe(false);
  expect(useCompileCache(["serve"], { ...home, NODE_COMPILE_CACHE: "/n" }, enable)).toBe(false);
  expect(used).toHaveLength(4);
});
