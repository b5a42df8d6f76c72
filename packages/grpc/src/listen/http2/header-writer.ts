/** Characters that the value of a header may not contain. */
const badValue = /[^\t\x20-\x7e\x80-\xff]|^[\t ]|[\t ]$/;
const badName = /[^!#$%&'*+.^_`|~0-9a-z-]|^$/;

/** An integer after a first byte whose other bits are 0. */
function integer(value: number, mask: number): string {
  if (value < mask) return String.fromCharCode(value);
  let text = String.fromCharCode(mask);
  let rest = value - mask;
  while (rest >= 0x80) {
    text += String.fromCharCode((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  return text + String.fromCharCode(rest);
}

const sized = (text: string): string => integer(text.length, 0x7f) + text;

/** The instruction that sets the table for our headers to size 0. */
export const noTable = " ";

/**
 * A block of headers in HPACK, each byte a character, of fields that the receiver need not remember. Throws where HTTP/2 cannot
 * carry one.
 */
export function headerBlock(status: number | undefined, headers: Readonly<Record<string, string>>): string {
  // Index 8 is `:status` with 200, and the name without it.
  let text = status === undefined ? "" : status === 200 ? "\x88" : `\x08${sized(String(status))}`;
  for (const name in headers) {
    const value = headers[name] ?? "";
    if (badValue.test(value) || badName.test(name)) throw new Error(`header ${name} cannot be sent`);
    text += `\0${sized(name)}${sized(value)}`;
  }
  return text;
}
