import type { LoggedRequest } from "@longshore/grpc";
import { virtualClock } from "@longshore/lab";
import { expect, it } from "vitest";
import { loggedRequests } from "./logged-requests.ts";

const entry = (name: string): LoggedRequest => ({
  metadata: { request: name },
  status: 200,
  details: "via_upstream",
  cancelled: false,
  upstream: "10.0.0.1:80",
  tookMs: 5,
  headers: {},
});

function requests() {
  const clock = virtualClock();
  const logged = loggedRequests("ab", clock);
  const ends: string[] = [];
  const begin = (label: string) =>
    logged.begin((request) => void ends.push(`${label} ${request?.status ?? "lost"}`));
  return { clock, logged, ends, begin };
}

it("ends each request with its own entry, once, and ignores unknown ones", () => {
  const { logged, ends, begin } = requests();
  const [one, two] = [begin("one").name, begin("two").name];
  expect(one).not.toBe(two);
  for (const name of [two, two, "cd 0", ""]) logged.logged(entry(name));
  expect(ends).toEqual(["two 200"]);
  logged.logged(entry(one));
  expect(ends).toEqual(["two 200", "one 200"]);
});

it("gives up a request two seconds after its call was closed, unless its entry comes", async () => {
  const { clock, logged, ends, begin } = requests();
  const [open, entered, lost, later] = [begin("open"), begin("entered"), begin("lost"), begin("later")];
  entered.closed();
  lost.closed();
  await clock.advance(1500);
  later.closed();
  lost.closed();
  logged.logged(entry(entered.name));
  await clock.advance(499);
  expect(ends).toEqual(["entered 200"]);
  await clock.advance(1);
  expect(ends).toEqual(["entered 200", "lost lost"]);
  await clock.advance(1500);
  expect(ends).toEqual(["entered 200", "lost lost", "later lost"]);
  await clock.advance(900_000);
  logged.logged(entry(lost.name));
  logged.logged(entry(open.name));
  open.closed();
  await clock.advance(2000);
  expect(ends).toEqual(["entered 200", "lost lost", "later lost", "open 200"]);
});

it("gives up the oldest request beyond the limit", () => {
  const { ends, begin } = requests();
  begin("old");
  for (let at = 0; at < 65_536; at++) begin("more");
  expect(ends).toEqual(["old lost"]);
});
