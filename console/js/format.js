// Numbers, times and values as text. One decimal form everywhere: 12 431,
// 1.24 M; a thin space parts thousands so that no locale is assumed.

const THIN = '\u2009';

export function whole(value) {
  if (value == null || !Number.isFinite(value)) return '–';
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, THIN);
}

/** [number, unit prefix], three digits or more: 8 431 → ['8 431', ''], 1.2e7 → ['12.0', 'M']. */
export function short(value) {
  if (value == null || !Number.isFinite(value)) return ['–', ''];
  const size = Math.abs(value);
  for (const [limit, prefix] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M']]) {
    if (size >= limit) return [digits(value / limit), prefix];
  }
  return size < 10 && !Number.isInteger(value) ? [value.toFixed(size < 1 ? 2 : 1), ''] : [whole(value), ''];
}

export function compact(value) {
  if (value == null || !Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 1e4 && Math.abs(value) < 1e6) return `${digits(value / 1e3)}${THIN}k`;
  const [number, prefix] = short(value);
  return prefix ? `${number}${THIN}${prefix}` : number;
}

export function bytes(value) {
  if (value == null || !Number.isFinite(value)) return ['–', ''];
  for (const [limit, unit] of [[2 ** 40, 'TB'], [2 ** 30, 'GB'], [2 ** 20, 'MB'], [2 ** 10, 'kB']]) {
    if (value >= limit) return [digits(value / limit), unit];
  }
  return [whole(value), 'B'];
}

/** A label of an axis: as compact as it goes. */
export const tick = (value) => compact(value).replace(/\.0+(?=\D|$)/, '');

export const bytesText = (value) => bytes(value).join(THIN).trim();

export function millis(value) {
  if (value == null || !Number.isFinite(value)) return '–';
  return value < 10 && value !== 0 ? value.toFixed(1) : whole(value);
}

/** Whether a column of this kind is set flush right. */
export const flushRight = (kind) => kind === 'int' || kind === 'float';

export function span(ms) {
  if (ms == null || ms < 0) return 'for ever';
  for (const [limit, unit] of [[864e5, 'd'], [36e5, 'h'], [6e4, 'min'], [1e3, 's']]) {
    if (ms >= limit) return `${compact(ms / limit)}${THIN}${unit}`;
  }
  return `${whole(ms)}${THIN}ms`;
}

/** The time of day in UTC, with milliseconds if `exact`. */
export function clock(ms, exact = false) {
  const text = new Date(ms).toISOString();
  return exact ? text.slice(11, 23) : text.slice(11, 19);
}

/** A cell of a result, by the kind the server gave its column. */
export function cell(value, kind) {
  if (value == null) return { text: 'NULL', missing: true };
  if (kind === 'time') {
    const text = new Date(value).toISOString();
    const day = text.slice(0, 10) === new Date().toISOString().slice(0, 10) ? '' : `${text.slice(0, 10)} `;
    return { text: day + (value % 1000 ? text.slice(11, 23) : text.slice(11, 19)), title: text };
  }
  if (kind === 'float' && typeof value === 'number') return { text: trimmed(value) };
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
  return { text, title: text.length > 24 ? text : undefined };
}

function trimmed(value) {
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e15) ? value.toExponential(3) : value.toFixed(2);
}

function digits(value) {
  const size = Math.abs(value);
  return size >= 100 ? whole(value) : value.toFixed(size >= 10 ? 1 : 2);
}
