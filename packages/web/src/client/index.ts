export { connect, type ConnectOptions, type RemoteClient, type RemoteLimits } from "./connect.ts";
