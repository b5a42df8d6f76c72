import type { Sound } from "./wav.ts";

/** Zero crossings of the sinc on each side, at the lower of the two rates. */
const crossings = 16;
/** Kaiser window parameter: about 80 dB of stop-band attenuation. */
const beta = 8;
/** The pass band ends here, as a share of the lower Nyquist frequency, so that the skirt does not fold back. */
const passRatio = 0.92;
/** Tables above this many figures would cost more than computing weights as they are needed. */
const maxTable = 1 << 20;

/** Modified Bessel function of the first kind and order 0, by its power series. */
function bessel0(x: number): number {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > sum * 1e-12; k++) {
    term *= (x / (2 * k)) * (x / (2 * k));
    sum += term;
  }
  return sum;
}

function divisor(a: number, b: number): number {
  return b === 0 ? a : divisor(b, a % b);
}

/**
 * Changes the sample rate by a polyphase filter: for the ratio up/down in lowest terms, one set of taps of a sinc under a
 * Kaiser window for each of the `up` positions between samples (J. O. Smith, "Digital Audio Resampling Home Page", 2002).
 * Each set is scaled to add up to 1, so that a constant stays exactly that. Sound outside the file is silence.
 */
export function resampled({ samples, rate }: Sound, wanted: number): Sound {
  if (rate === wanted || samples.length === 0) return { samples, rate: wanted };
  const common = divisor(rate, wanted);
  const up = wanted / common;
  const down = rate / common;
  const cutoff = Math.min(1, wanted / rate) * passRatio;
  const half = Math.ceil(crossings / cutoff);
  const taps = 2 * half;
  const normal = bessel0(beta);
  const fill = (weights: Float64Array, offset: number, phase: number): void => {
    let sum = 0;
    for (let tap = 0; tap < taps; tap++) {
      const x = tap - half + 1 - phase / up;
      const inside = 1 - (x / half) * (x / half);
      const angle = Math.PI * x * cutoff;
      const sinc = angle === 0 ? 1 : Math.sin(angle) / angle;
      const weight = inside <= 0 ? 0 : (sinc * bessel0(beta * Math.sqrt(inside))) / normal;
      weights[offset + tap] = weight;
      sum += weight;
    }
    for (let tap = 0; tap < taps; tap++) weights[offset + tap] = (weights[offset + tap] as number) / sum;
  };
  const tabled = up * taps <= maxTable;
  const weights = new Float64Array(tabled ? up * taps : taps);
  if (tabled) for (let phase = 0; phase < up; phase++) fill(weights, phase * taps, phase);
  const out = new Float32Array(Math.ceil((samples.length * up) / down));
  for (let index = 0; index < out.length; index++) {
    const position = index * down;
    const phase = position % up;
    const first = (position - phase) / up - half + 1;
    if (!tabled) fill(weights, 0, phase);
    const base = tabled ? phase * taps : 0;
    const from = Math.max(0, -first);
    const to = Math.min(taps, samples.length - first);
    let sum = 0;
    for (let tap = from; tap < to; tap++) {
      sum += (weights[base + tap] as number) * (samples[first + tap] as number);
    }
    out[index] = sum;
  }
  return { samples: out, rate: wanted };
}
