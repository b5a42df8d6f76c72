const sourceCondition = "@longshore/source";

/**
 * Node.js options of this program for a thread that runs built JavaScript: all of them but the export condition under which
 * packages of this project resolve to their TypeScript sources, which a thread cannot load.
 */
export function builtOptions(options: readonly string[]): string[] {
  return options.filter((option, index) => {
    const value = option === sourceCondition && /^(?:-C|--conditions)$/u.test(options[index - 1] ?? "");
    const flag = /^(?:-C|--conditions)$/u.test(option) && options[index + 1] === sourceCondition;
    return !value && !flag && option !== `--conditions=${sourceCondition}`;
  });
}
