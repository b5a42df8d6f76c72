/**
 * Gives the platform `Symbol.dispose` where it has none yet (Safari). Called by what is entered first, before anything
 * is made that can be disposed; importing the package changes nothing.
 *
 * @example
 * ```ts
 * import { ensureDisposal } from "@longshore/web";
 *
 * ensureDisposal();
 * console.log(typeof Symbol.dispose); // symbol
 * ```
 */
export function ensureDisposal(): void {
  const symbols: { dispose?: symbol } = Symbol;
  if (symbols.dispose === undefined) {
    Object.defineProperty(Symbol, "dispose", { value: Symbol("Symbol.dispose") });
  }
}
