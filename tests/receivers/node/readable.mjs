/** Throws unless people can read it: words, not JSON. */
export function readableText(text, charactersMax) {
  if (typeof text !== 'string' || text.trim() === '') throw new Error('no text');
  if ([...text].length > charactersMax) throw new Error('too long');
  if (/^\s*[[{]|\{\s*"|"\s*:/.test(text)) throw new Error('JSON, not a message');
  if (!/\p{L}+ \S+/u.test(text)) throw new Error('no words');
}
