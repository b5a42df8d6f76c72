import { silentObserver } from "@longshore/core";
import { manualClock, wrapperContract } from "@longshore/testkit";
import { chargedEndpoint } from "./charged-endpoint.ts";

wrapperContract("that records costs", {
  wrap: (inner) => chargedEndpoint(inner, { clock: manualClock(), observer: silentObserver }),
});
