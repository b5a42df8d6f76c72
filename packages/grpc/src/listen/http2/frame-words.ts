/** Kinds of frames of HTTP/2 (RFC 9113, section 6). */
export const frameTypes = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  promise: 5,
  ping: 6,
  goAway: 7,
  window: 8,
  continuation: 9,
} as const;

export const flags = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const;

/** Why a stream or a connection ends (section 7). */
export const codes = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  streamClosed: 5,
  frameSize: 6,
  refused: 7,
  cancel: 8,
  compression: 9,
  enhanceYourCalm: 11,
} as const;

export const settings = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

/** Bytes before the payload of each frame. */
export const frameHeadBytes = 9;
/** The window of a connection, and of a stream before settings say otherwise. */
export const firstWindow = 65_535;
/** The largest window. */
export const mostWindow: number = 2 ** 31 - 1;
/** The largest frame that everybody takes. */
export const plainFrameBytes = 16_384;
/** The first bytes of a client. */
export const preface: string = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const word = (value: number, bytes: number): string => {
  let text = "";
  for (let shift = bytes - 1; shift >= 0; shift--)
    text += String.fromCharCode((value >>> (8 * shift)) & 0xff);
  return text;
};

/** The header of a frame, each byte a character. */
export function frameHead(length: number, type: number, flag: number, stream: number): string {
  return word(length, 3) + String.fromCharCode(type, flag) + word(stream, 4);
}

/** A frame whose payload is whole numbers of four bytes. */
export function numberFrame(type: number, stream: number, ...numbers: readonly number[]): string {
  return frameHead(4 * numbers.length, type, 0, stream) + numbers.map((value) => word(value, 4)).join("");
}

/** The frame that tells how one end wants to be treated. */
export function settingsFrame(values: readonly (readonly [setting: number, value: number])[]): string {
  const payload = values.map(([setting, value]) => word(setting, 2) + word(value, 4)).join("");
  return frameHead(payload.length, frameTypes.settings, 0, 0) + payload;
}
