import type { Socket } from "node:net";

/** One value for each connection, created at its first use. */
export function perConnection<T extends object>(create: (socket: Socket) => T): (socket: Socket) => T {
  const known = new WeakMap<Socket, T>();
  return (socket) => {
    let found = known.get(socket);
    if (!found) {
      found = create(socket);
      known.set(socket, found);
    }
    return found;
  };
}
