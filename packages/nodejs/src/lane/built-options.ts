const sourceCondition = "@longshore/source";

/**
 * Node.js options for a thread that runs built JavaScript: all of this program's but the export condition under which packages
 * of this project resolve to their TypeScript sources, which a thread cannot load. Undefined to inherit them, where the
 * condition is not among them: a thread inherits options of the whole process, too, which Node.js refuses to be told.
 */
export function builtOptions(options: readonly string[]): string[] | undefined {
  const kept = options.filter((option, index) => {
    const value = option === sourceCondition && /^(?:-C|--conditions)$/u.test(options[index - 1] ?? "");
    const flag = /^(?:-C|--conditions)$/u.test(option) && options[index + 1] === sourceCondition;
    return !value && !flag && option !== `--conditions=${sourceCondition}`;
  });
  return kept.length < options.length ? kept : undefined;
}
