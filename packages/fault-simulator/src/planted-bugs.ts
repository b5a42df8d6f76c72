/**
 * Small bugs that are planted one at a time, to see whether the simulator or a test finds them. Each is a piece of source text,
 * which stands in exactly one file, and its replacement. A change that moves the text has to move it here, too: a test says so.
 */

/** A bug, as a change of one file. */
export interface PlantedBug {
  readonly name: string;
  /** Its effect, for people. */
  readonly about: string;
  readonly search: string;
  readonly replace: string;
  /** Test files that could find it, by their names. They are run where the simulator does not. */
  readonly tests: readonly string[];
  /** The tests are run first: the simulator has nothing that could show it, or takes longer. */
  readonly testsFirst?: true;
}

/** All planted bugs. */
export const plantedBugs: readonly PlantedBug[] = [
  // Rules: where requests may run.
  {
    name: "zone-by-letters",
    about: "A zone lies inside another one whose name it begins with: earth/europa inside earth/eu.",
    search: '(zone.startsWith(outer) && zone[outer.length] === "/")',
    replace: "zone.startsWith(outer)",
    tests: ["call.test.ts"],
  },
  {
    name: "trust-one-lower",
    about: "A data class is sent to servers that are trusted one level less than it demands.",
    search: "if (trustRank(trust) < demandedRank(rule.leastTrust)) {",
    replace: "if (trustRank(trust) + 1 < demandedRank(rule.leastTrust)) {",
    tests: ["policy.test.ts"],
  },
  {
    name: "rules-stay-behind",
    about: "A request is sent on without the zones that its rules name.",
    search: "headers[rulesHeader] = rulesText(call.rules);",
    replace: "headers[rulesHeader] = rulesText({ ...call.rules, zones: undefined });",
    tests: ["call-headers.test.ts"],
  },
  {
    name: "trust-as-claimed",
    about: "An entry of the directory is trusted as it claims, however it was proved.",
    search: "const trust = leastTrust(entry.trust, mostTrust);",
    replace: "const trust = entry.trust;",
    tests: ["directory.test.ts"],
    testsFirst: true,
  },
  {
    name: "zone-outside-entry",
    about: "A server may say that it processes outside of the zone of its entry.",
    search: "if (told?.zone !== undefined && !zoneWithin(told.zone, [entry.zone])) {",
    replace: "if (told?.zone === entry.id) {",
    tests: ["directory.test.ts"],
    testsFirst: true,
  },
  {
    name: "answers-across-tenants",
    about: "The cache of answers does not tell tenants apart.",
    search: "    tenant,\n    rulesKey(rules),",
    replace: "    rulesKey(rules),",
    tests: ["cached-endpoint.test.ts"],
    testsFirst: true,
  },
  // Time: deadlines, guards, late answers.
  {
    name: "deadline-doubled",
    about: "A server takes the time that is left for twice as long.",
    search: "deadlineMs = Math.min(deadlineMs, nowMs + Number(remaining));",
    replace: "deadlineMs = Math.min(deadlineMs, nowMs + 2 * Number(remaining));",
    tests: ["call-headers.test.ts", "handler.test.ts"],
    testsFirst: true,
  },
  {
    name: "deadline-ignored",
    about: "Work is waited for after the deadline.",
    search: "  if (deadlineMs === Infinity) return untilAborted(work, abort, stage);\n  return new Promise",
    replace: "  if (deadlineMs > 0) return untilAborted(work, abort, stage);\n  return new Promise",
    tests: ["deadline.test.ts"],
  },
  {
    name: "race-without-deadline",
    about: "A race does not end at the deadline of its request.",
    search: "atDeadline(this.#loop.clock, call.deadlineMs, () => {",
    replace: "atDeadline(this.#loop.clock, Infinity, () => {",
    tests: ["offloader.test.ts"],
  },
  {
    name: "guard-60-ms-late",
    about: "Every moment of a guard comes 60 ms late.",
    search: "this.#look(Math.max(1, Math.min(",
    replace: "this.#look(60 + Math.max(1, Math.min(",
    tests: ["guard-watch.test.ts", "offloading.test.ts"],
    testsFirst: true,
  },
  {
    name: "half-a-body-is-all",
    about: "Half of a body counts as all of it, for the guard.",
    search: "const all = bytes >= 0.98 * bodyBytes;",
    replace: "const all = bytes >= 0.5 * bodyBytes;",
    tests: ["guard-watch.test.ts", "running.test.ts"],
    testsFirst: true,
  },
  {
    name: "half-a-body-has-arrived",
    about: "Half of a body counts as all of it, for what a lost leg teaches.",
    search: "heardBytes >= 0.98 * (leg.predicted.sentBytes - 900)",
    replace: "heardBytes >= 0.5 * (leg.predicted.sentBytes - 900)",
    tests: ["running.test.ts", "hanging.test.ts"],
    testsFirst: true,
  },
  {
    name: "losers-run-on",
    about: "Legs that lost a race are not cancelled.",
    search:
      '      running.work?.dropped(nowMs);\n      running.cancel(new LongshoreError("cancelled", "execute", why));',
    replace: "      running.work?.dropped(nowMs);",
    tests: ["offloader.test.ts", "hanging.test.ts"],
    testsFirst: true,
  },
  // Budgets.
  {
    name: "give-back-lost",
    about: "A retry that could not begin is not given back to the budget.",
    search: "!== true) {\n      retrying.budget.back();\n      return false;",
    replace: "!== true) {\n      return false;",
    tests: ["retries.test.ts"],
    testsFirst: true,
  },
  {
    name: "give-back-is-nothing",
    about: "Giving back to the budget of retries changes nothing.",
    search: "saved = Math.min(mostSaved, saved + 1);",
    replace: "saved = Math.min(mostSaved, saved);",
    tests: ["retry-budget.test.ts"],
    testsFirst: true,
  },
  {
    name: "second-runs-are-free",
    about: "Second runs are not taken out of their budget.",
    search: "tokens -= ratio;",
    replace: "tokens -= 0;",
    tests: ["run-budget.test.ts"],
    testsFirst: true,
  },
  {
    name: "turned-away-for-ever",
    about: "A server that takes no request of thirty in a row is still asked for its longest wait.",
    search: "const mostTurnedAway = 3;",
    replace: "const mostTurnedAway = 30;",
    tests: ["endpoint-state.test.ts", "endpoint-states.test.ts", "offloader.test.ts"],
    testsFirst: true,
  },
  // Servers that fail and come back.
  {
    name: "answers-do-not-heal",
    about: "A server that answers stays paused until its pause is over, and counts its failures on.",
    search: "      if (row === 0 && failures === 0) return;\n      reopen();",
    replace: "      if (row === 0 && failures === 0) return;",
    tests: ["endpoint-state.test.ts", "endpoint-states.test.ts", "coming-back.test.ts"],
    testsFirst: true,
  },
  {
    name: "paused-to-the-end",
    about:
      "Where nothing else is left, a server is not asked whose pause has doubled after failures of two kinds (lock-out).",
    search: "distrusted === undefined && row > 0 && nowMs < failedUntilMs && nowMs >= refusedUntilMs,",
    replace: "distrusted === undefined && row === 1 && nowMs < failedUntilMs && nowMs >= refusedUntilMs,",
    tests: ["lock-out.test.ts", "beliefs.test.ts"],
  },
  {
    name: "pauses-without-end",
    about: "The pause of a server that fails is not bounded.",
    search: "firstPauseMs * 2 ** Math.min(20, row - 1)",
    replace: "firstPauseMs * 4 ** Math.min(20, row + 3)",
    tests: ["endpoint-state.test.ts", "endpoint-states.test.ts"],
    testsFirst: true,
  },
  {
    name: "refusals-are-not-replanned",
    about: "An error of one server ends the request.",
    search: '  return error.reason === "invalid-input" || error.reason === "invalid-media";',
    replace: '  return error.reason === "invalid-input" || error.reason === "no-answer";',
    tests: ["offloader.test.ts"],
  },
  {
    name: "leases-without-end",
    about: "A server that falls silent stays in the directory.",
    search: "if (member && nowHeardNobody()) member.lease = lease(id);",
    replace: "if (member) member.lease = lease(id);",
    tests: ["directory.test.ts"],
    testsFirst: true,
  },
  {
    name: "leases-lapse-together",
    about: "A directory that its servers cannot reach takes all of them for gone.",
    search: "if (member && nowHeardNobody()) member.lease = lease(id);",
    replace: "if (member && id === instance) member.lease = lease(id);",
    tests: ["directory.test.ts"],
    testsFirst: true,
  },
  {
    name: "one-try",
    about: "A server is asked once for each request, however much time is left.",
    search: "if (!passing.has(reason)) return;",
    replace: "if (passing.has(reason) || reason) return;",
    tests: ["retries.test.ts"],
  },
  {
    name: "checksums-are-not-compared",
    about: "A body with a flipped bit is taken.",
    search: "if (value !== expected) throw checksumDamage(what);",
    replace: "if (value < 0) throw checksumDamage(what);",
    tests: ["checksum.test.ts"],
  },
  {
    name: "old-packages",
    about: "A package that is older than the installed one takes its place.",
    search: "if (serial > installed.serial) return;",
    replace: "if (serial > 0) return;",
    tests: ["freshness.test.ts"],
    testsFirst: true,
  },
  {
    name: "telemetry-on",
    about: "The telemetry of ONNX Runtime is not switched off.",
    search: "if (isMainThread) process.env[telemetryVariable] = telemetrySetting();",
    replace: "if (isMainThread) process.env[telemetryVariable] = process.env[telemetryVariable];",
    tests: ["telemetry-off.test.ts"],
    testsFirst: true,
  },
  {
    name: "renewals-too-late",
    about: "Servers renew their leases after these are over.",
    search: "nextMs = mostMs * (0.8 + 0.2 * random.next());",
    replace: "nextMs = reply.leaseMs * (1.2 + 0.2 * random.next());",
    tests: ["directory.test.ts"],
    testsFirst: true,
  },
  {
    name: "old-serials",
    about: "An entry that is one serial older than what was seen is believed.",
    search: "if (serial < newest) return",
    replace: "if (serial < newest - 1) return",
    tests: ["seen-serials.test.ts", "directory.test.ts"],
    testsFirst: true,
  },
  // Sequences and repeated requests.
  {
    name: "steps-out-of-order",
    about: "A step of a sequence is made whatever its number is.",
    search: "if (entry.state && step === entry.last + 1) return",
    replace: "if (entry.state) return",
    tests: ["sequence-store.test.ts"],
    testsFirst: true,
  },
  {
    name: "steps-made-twice",
    about: "A step that comes again is made again.",
    search:
      "if (fingerprint !== undefined && step === entry.last && entry.reply?.fingerprint === fingerprint) {",
    replace: "if (fingerprint !== undefined && step < -1 && entry.reply?.fingerprint === fingerprint) {",
    tests: ["sequence-store.test.ts"],
    testsFirst: true,
  },
  {
    name: "stale-copy",
    about: "A sequence goes on from the state before the last one.",
    search: "    this.#before = after;\n    this.#step++;",
    replace: "    this.#before ??= after;\n    this.#step++;",
    tests: ["step-line.test.ts", "sequence.test.ts"],
  },
  {
    name: "seals-are-not-read",
    about: "State that was changed on its way is taken.",
    search: "if (same(await own.mac(sealed(key, Number(step), state)), mac)) {",
    replace: "if (same(mac, mac)) {",
    tests: ["sequence-store.test.ts", "engine.test.ts", "sequences.test.ts"],
    testsFirst: true,
  },
  {
    name: "keys-are-forgotten",
    about: "A request that comes again with its key is done again.",
    search: "return made !== undefined && clock.nowMs() - made.atMs <= keptMs;",
    replace: "return made !== undefined && clock.nowMs() - made.atMs < 0;",
    tests: ["once-endpoint.test.ts"],
    testsFirst: true,
  },
  {
    name: "key-for-two-questions",
    about: "A key that comes with another question gets the answer to the first.",
    search: "if (made.contentKey !== asked) throw otherQuestion(request.segment);",
    replace: "",
    tests: ["once-endpoint.test.ts"],
    testsFirst: true,
  },
  {
    name: "leader-takes-all-along",
    about: "The deadline of the first of several equal requests ends all of them.",
    search: '  "cancelled",\n  "deadline-exceeded",\n  "deadline-past",\n  "evicted",',
    replace: '  "deadline-past",\n  "evicted",',
    tests: ["cached-endpoint.test.ts", "once-endpoint.test.ts"],
    testsFirst: true,
  },
  // Answers.
  {
    name: "rows-of-others",
    about: "Requests that share a run get the row of their neighbour.",
    search: "const theirs = one.bytes.subarray(one.begin(row), one.begin(row + count));",
    replace: "const theirs = one.bytes.subarray(one.begin(0), one.begin(count));",
    tests: ["batch.test.ts", "engine.test.ts"],
  },
  {
    name: "second-try-in-pieces",
    about: "A body of which the beginning is not here any more is sent again.",
    search: "return this.#droppedBytes === 0 && !this.#failed && !this.#gone;",
    replace: "return !this.#failed && !this.#gone;",
    tests: ["kept-body.test.ts"],
    testsFirst: true,
  },
  // Bugs in holding and returning resources.
  {
    name: "requests-never-leave",
    about: "A server counts requests that are over as under way.",
    search: "  const leave = (): void => {\n    inFlight -= 1;",
    replace: "  const leave = (): void => {\n    inFlight -= 0;",
    tests: ["handler.test.ts"],
  },
  {
    name: "budget-of-bodies-leaks",
    about: "The memory of bodies is not given back.",
    search: "this.#take(-this.#own);",
    replace: "",
    tests: ["handler.test.ts", "recycled-bodies.test.ts"],
    testsFirst: true,
  },
  {
    name: "tickets-are-kept",
    about: "Requests keep their place in the queue of a model when they are over.",
    search: "for (const ticket of this.#tickets.values()) ticket[Symbol.dispose]();",
    replace: "",
    tests: ["scheduler.test.ts", "early-admission.test.ts", "engine.test.ts"],
  },
  {
    name: "drained-and-ready",
    about: "A server that is shutting down says that it is ready.",
    search: '(life.state === "ready" && (available === undefined',
    replace: '(life.state !== "starting" && (available === undefined',
    tests: ["handler.test.ts"],
    testsFirst: true,
  },
  {
    name: "drained-and-open",
    about: "A server that is shutting down takes new work.",
    search: '      if (state === "draining") {\n        throw new LongshoreError(',
    replace: "      if (state !== state) {\n        throw new LongshoreError(",
    tests: ["handler.test.ts"],
    testsFirst: true,
  },
  // Rollouts.
  {
    name: "canary-for-the-others",
    about: "Those get the candidate who should not.",
    search: "< trial.weightRatio\n",
    replace: "> trial.weightRatio\n",
    tests: ["rollout.test.ts"],
    testsFirst: true,
  },
  {
    name: "sequences-change-sides",
    about: "Each step of a sequence draws its side of a rollout anew.",
    search: "if (sequence !== undefined) return `sequence ${call.tenant} ${sequence}`;",
    replace: "",
    tests: ["rollout.test.ts"],
    testsFirst: true,
  },
];
