/**
 * The address of another port of a server: an `http` address, or `:port` or `:port/path` of the host of `address`. Undefined
 * for any other text.
 */
export function addressOn(address: string, where: string): URL | undefined {
  const [, port, path] = /^:(\d{1,5})(\/.*)?$/.exec(where) ?? [];
  const host = URL.canParse(address) ? new URL(address) : undefined;
  const full =
    port === undefined || !host ? where : `${host.protocol}//${host.hostname}:${port}${path ?? ""}`;
  const found = URL.canParse(full) ? new URL(full) : undefined;
  return found && /^https?:$/.test(found.protocol) ? found : undefined;
}
