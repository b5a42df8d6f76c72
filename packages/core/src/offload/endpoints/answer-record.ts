/**
 * An endpoint with fewer answers than this since it appeared or returned is unproven. Its promise may be the time of its first, cold run,
 * or a guess where it promises nothing. Without requests it would never run warm and promise less.
 */
const provenAnswers = 5;
/**
 * An unproven endpoint may be tried after this pause, in milliseconds. The pause doubles after each try in a row whose answer came too
 * late: where an endpoint is as slow as it says, others answer first, and it would never prove anything.
 */
const unprovenMs = 1000;
/** How often the pause doubles at most. */
const mostDoubled = 10;

/** Which requests an endpoint answered, and when. */
export interface AnswerRecord {
  /** Time of its last answer to a request; -Infinity for never. */
  readonly answeredAtMs: number;
  /**
   * When the newest of the requests that it answered began; -Infinity for none. A request that began before and counts as lost is probably not
   * in a queue there: its answer is lost.
   */
  readonly newestBeganMs: number;
  /** Time of the last request that was sent there, or when the endpoint appeared. */
  readonly sentAtMs: number;
  /** Whether requests have shown how good its promises are. */
  readonly proven: boolean;
  /**
   * Whether a leg there counts as lost and nothing was answered since it began. Later requests will not be answered either. Ends with the
   * next answer, or when nothing is under way there.
   */
  readonly mute: boolean;
  /** Whether too little is known of it, and nothing was sent there for a while. */
  unproven(nowMs: number): boolean;
  /** A request was sent there; `alone`: no other one is under way there. */
  sent(nowMs: number, alone: boolean): void;
  /** Records that a leg that began then counts as lost. Infinity if the reason is that the endpoint was silent for too long. */
  missed(beganMs: number): void;
  /** It answered a request, or gave one of several answers (`last` is false). */
  answered(nowMs: number, last: boolean): void;
  /** It answered a request that began then. */
  answeredFrom(beganMs: number): void;
  /** It is gone: when it returns it has to prove itself again. */
  gone(): void;
}

/** Starts without answers of an endpoint that appears now. */
export function answerRecord(nowMs: number): AnswerRecord {
  return new AnswerTimes(nowMs);
}

class AnswerTimes implements AnswerRecord {
  sentAtMs: number;
  answeredAtMs = -Infinity;
  newestBeganMs = -Infinity;
  mute = false;
  /** Answers since the endpoint appeared or returned. */
  #answers = 0;
  /** Exploratory requests sent there since its last answer. */
  #tries = 0;

  constructor(nowMs: number) {
    this.sentAtMs = nowMs;
  }

  get proven(): boolean {
    return this.#answers >= provenAnswers;
  }

  unproven(nowMs: number): boolean {
    return !this.proven && nowMs - this.sentAtMs > unprovenMs * 2 ** Math.min(mostDoubled, this.#tries);
  }

  sent(nowMs: number, alone: boolean): void {
    if (this.unproven(nowMs)) this.#tries++;
    if (alone) this.mute = false;
    this.sentAtMs = nowMs;
  }

  missed(beganMs: number): void {
    this.mute ||= beganMs > this.answeredAtMs;
  }

  answered(nowMs: number, last: boolean): void {
    this.answeredAtMs = nowMs;
    this.mute = false;
    if (!last) return;
    this.#answers++;
    this.#tries = 0;
  }

  answeredFrom(beganMs: number): void {
    this.newestBeganMs = Math.max(this.newestBeganMs, beganMs);
  }

  gone(): void {
    this.#answers = 0;
    this.#tries = 0;
  }
}
