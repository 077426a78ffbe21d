// The key figures and the two lines over the last two minutes.

import { byId, element, setText } from './dom.js';
import { bytes, compact, millis, short, tick, whole } from './format.js';
import { Plot } from './plot.js';

const SPAN_MS = 120_000;
/** More between two points is a gap: the connection was lost. */
const GAP_MS = 3_000;
const COLUMNS = ['at', 'events', 'rows', 'p50', 'p99'];

export class Overview {
  constructor() {
    this.points = { at: [], events: [], rows: [], p50: [], p99: [] };
    this.throughput = this.line('throughput', [
      { key: 'events', name: 'events in', colour: '--in', fill: '--in-fill' },
      { key: 'rows', name: 'rows out', colour: '--out' },
    ], tick, (value) => `${compact(value)}/s`);
    this.latency = this.line('latency', [
      { key: 'p99', name: 'p99', colour: '--in', fill: '--in-fill' },
      { key: 'p50', name: 'p50', colour: '--out' },
    ], (value) => `${millis(value)} ms`, (value) => `${millis(value)} ms`);
  }

  line(id, series, format, legendFormat) {
    const values = series.map(() => element('b', {}, '–'));
    const names = series.map((one) => element('span', {}, one.name));
    byId(`${id}-legend`).append(...series.map((one, i) => {
      const swatch = element('i');
      swatch.style.background = `var(${one.colour})`;
      return element('span', {}, swatch, names[i], ' ', values[i]);
    }));
    const line = { series, values, names, legendFormat, at: null };
    line.plot = new Plot(byId(id), {
      series,
      format,
      range: () => [(this.now() - SPAN_MS) / 1000, this.now() / 1000],
      onValues: (index) => { line.at = index; this.legend(line); },
    });
    return line;
  }

  now() {
    return this.points.at.at(-1) ?? Date.now();
  }

  /** What was measured before the page came. */
  history(history) {
    for (const name of COLUMNS) this.points[name] = history[name].slice();
    this.draw();
  }

  status(status) {
    this.figures(status);
    const last = this.points.at.at(-1);
    if (last !== undefined && status.at - last > GAP_MS) this.push(last + 1, null, null, null, null);
    const { rates, latency } = status;
    this.push(status.at, rates.events, rates.rows, latency.p50, latency.p99);
    while (this.points.at[0] < status.at - SPAN_MS - 1000) for (const name of COLUMNS) this.points[name].shift();
    this.draw();
  }

  push(...values) {
    COLUMNS.forEach((name, i) => this.points[name].push(values[i]));
  }

  figures(status) {
    setText(byId('n-events'), whole(status.rates.events));
    setText(byId('n-rows'), whole(status.rates.rows));
    setText(byId('n-rows-label'), status.main ? `${status.main} rows` : 'rows out');
    setText(byId('n-p50'), millis(status.latency.p50));
    setText(byId('n-p99'), millis(status.latency.p99));
    setText(byId('n-lag'), compact(status.lag_events));
    byId('n-lag').parentElement.classList.toggle('warm', status.lag_events > 3 * Math.max(status.rates.events, 1000));
    const memory = bytes(status.memory_bytes);
    setText(byId('n-memory'), memory[0]);
    setText(byId('n-memory-unit'), memory[1]);
    const lake = short(status.lake_rows);
    setText(byId('n-lake'), lake[0]);
    setText(byId('n-lake-unit'), `${lake[1]} rows`.trim());
    document.title = status.rates.events > 0 ? `${compact(status.rates.events)}/s · Pluvio` : 'Pluvio';
    this.rowsName = status.main;
  }

  draw() {
    const { at, ...columns } = this.points;
    const seconds = at.map((ms) => ms / 1000);
    for (const line of [this.throughput, this.latency]) {
      line.plot.show([seconds, ...line.series.map(({ key }) => columns[key])]);
      this.legend(line);
    }
    if (this.rowsName) setText(this.throughput.names[1], this.rowsName);
  }

  legend(line) {
    const last = this.points.at.length - 1;
    line.series.forEach(({ key }, i) => {
      const value = this.points[key][line.at ?? last];
      setText(line.values[i], value == null ? '–' : line.legendFormat(value));
    });
  }
}
