import { type Call, type Clock, LongshoreError } from "@longshore/core";
import { childCall, type FileBytes, type PackageSource } from "@longshore/core/internal";

/** A source that sends nothing for this many milliseconds gets a new request, for the missing bytes. */
const mostSilentMs = 30_000;

/**
 * Ends the request (`no-answer`) when the source stops sending: a server that hangs, or a link that was cut, would hold the
 * caller for ever.
 */
export function withSilenceLimit(source: PackageSource, clock: Clock): PackageSource {
  /** A call that ends in silence. */
  function listen(parent: Call): Disposable & { readonly call: Call; heard(): void } {
    const child = childCall(parent);
    const late = (): void =>
      child.cancel(
        new LongshoreError(
          "no-answer",
          "transport",
          `${source.name} sent nothing for ${mostSilentMs / 1000} s`,
        ),
      );
    let timer = clock.timer(mostSilentMs, late);
    return {
      call: child.call,
      heard() {
        timer[Symbol.dispose]();
        timer = clock.timer(mostSilentMs, late);
      },
      [Symbol.dispose]() {
        timer[Symbol.dispose]();
        child[Symbol.dispose]();
      },
    };
  }

  async function file(open: (call: Call) => Promise<FileBytes>, call: Call): Promise<FileBytes> {
    const listening = listen(call);
    try {
      const { fromByte, read } = await open(listening.call);
      return { fromByte, read: () => heardOf(read(), listening) };
    } catch (thrown) {
      listening[Symbol.dispose]();
      throw thrown;
    }
  }

  const head = source.head?.bind(source);
  return {
    name: source.name,
    async manifest(wanted, call) {
      using listening = listen(call);
      return await source.manifest(wanted, listening.call);
    },
    file: (packageDigest, fileDigest, fromByte, call) =>
      file((own) => source.file(packageDigest, fileDigest, fromByte, own), call),
    ...(head ? { head: (wanted, fromByte, call) => file((own) => head(wanted, fromByte, own), call) } : {}),
  };
}

async function* heardOf(
  chunks: AsyncIterable<Uint8Array>,
  listening: Disposable & { heard(): void },
): AsyncIterable<Uint8Array> {
  using _over = listening;
  for await (const chunk of chunks) {
    listening.heard();
    yield chunk;
    // Writing it down is no silence of the source.
    listening.heard();
  }
}
